"""Letting a run go on that was halted because going back had not helped."""

from pathlib import Path
from typing import Any, cast

from actors.clock import SystemClock
from actors.place import Log, Place
from actors.purposes import halting
from actors.runs import LATEST, runs_called
from actors.streams import run_stream
from actors.voice import Voice
from esper.api.errors import NothingToAcknowledge
from esper.api.logs import EMBEDDED, open_named
from esper.leyline.v1.run_pb2 import AcknowledgeHalt
from esper.tolaria.rules.run import RUN

LOG_WAIT_S = 60.0


def acknowledge(run: str = LATEST, reason: str = "", *, log: str = EMBEDDED, folder: str | Path = ".esper") -> str:
    """Record that somebody has looked at a halted *run*, and what was done about it; return the run's id.

    The run can be resumed then. The governor may go back as often as at the beginning.

    Raises:
        NothingToAcknowledge: no such run, or it is not halted.
        StackNotReady, StoreUnavailable: the log cannot be reached.
    """
    opened = open_named(log, Place.at(Path(folder)))
    try:
        return opened.loop.call(acknowledge_on(opened.log, run, reason), LOG_WAIT_S)
    finally:
        opened.close()


async def acknowledge_on(log: Log, run: str, reason: str) -> str:
    """Acknowledge on an open log; see `acknowledge`."""
    fitting = await runs_called(log.store, run)
    if len(fitting) != 1:
        raise NothingToAcknowledge(run, f"{len(fitting)} runs are called so: `esper runs` lists them")
    stream = run_stream(fitting[0])
    found = RUN.fold(cast("Any", one.event) for one in await log.store.read_stream(stream))
    if found.halted is None:
        raise NothingToAcknowledge(run, "it is not halted")
    voice = Voice(log, fitting[0], SystemClock())
    voice.timeline = found.halted.timeline
    purpose = f"acknowledged/{halting(found.halted.at)}"
    await voice.tell(RUN, stream, AcknowledgeHalt(reason=reason), purpose, actor="operator")
    return fitting[0]
