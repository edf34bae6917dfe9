"""Generated from proto/esper/leyline/v1 by `just proto`; never edited by hand."""
