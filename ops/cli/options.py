"""The options that every command shares."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options:
    """Where the log is, and how to print what is found in it.

    Args:
        folder: The installation's folder.
        log: Read the log of this server (nats://host:port) instead of the folder's own.
        json: Print one JSON object per line, with stable keys.
    """

    folder: Annotated[Path, Parameter(env_var="ESPER_HOME")] = Path(".esper")
    log: str | None = None
    json: Annotated[bool, Parameter(negative="")] = False


DEFAULTS = Options()
