"""`python -m ops.demo`: the same as `esper demo`."""

import cyclopts

from ops.demo.command import demo

cyclopts.run(demo)
