"""Generated from proto/eventstore/v1 by `just proto`; never edited by hand."""
