"""Who else knows how far the log once reached: the projections, and the server about its own disk."""

from contextlib import closing

import msgspec

from actors.projector import ask_projector
from actors.verification import Loss, Witness
from eventstore.oona.streams import EVENTS
from eventstore.projection.checkpoint import read_checkpoint
from eventstore.projection.errors import ProjectionsMissing
from eventstore.projection.file import open_file
from eventstore.projection.live import Question
from ops.cli.log import OpenLog

TIMEOUT_S = 5.0
NAME = "the projection file"


class _Lost(msgspec.Struct, frozen=True):
    msgs: tuple[int, ...] | None = None
    size_bytes: int = msgspec.field(default=0, name="bytes")


class _State(msgspec.Struct, frozen=True):
    lost: _Lost | None = None
    size_bytes: int = msgspec.field(default=0, name="bytes")


class _Info(msgspec.Struct, frozen=True):
    state: _State = _State()


async def server_loss(log: OpenLog) -> Loss | None:
    """Return what the server lost when it started on its files; None if nothing.

    It says so itself, except for a block whose first record it cannot make out: that one it takes for empty. The
    size of the files before it started tells then.

    Raises:
        StoreUnavailable: it did not answer.
    """
    data = await log.bus.ask(f"$JS.API.STREAM.INFO.{EVENTS}", b"", timeout_s=TIMEOUT_S)
    state = msgspec.json.decode(data, type=_Info).state
    if state.lost is not None:
        return Loss(state.lost.msgs or (), state.lost.size_bytes)
    dropped = (log.bytes_found or 0) - state.size_bytes
    return Loss((), dropped) if dropped > 0 else None


async def projections_witness(log: OpenLog) -> Witness | None:
    """Return how far the projections once followed which log; None if nothing was projected.

    Raises:
        StoreUnavailable: the stack runs, but its projector does not answer.
        ProjectionsBusy: somebody else has the file.
    """
    if log.stack_up:
        sql = "select log_created_ns, position from projection_checkpoint"
        created_ns, position = (await ask_projector(log.bus, Question(sql=sql))).rows[0]
        return _witness(int(str(created_ns)), int(str(position)))
    try:
        with closing(open_file(log.place.database)) as connection:
            checkpoint = read_checkpoint(connection)
    except ProjectionsMissing:
        return None
    return _witness(checkpoint.log_created_ns, checkpoint.position)


def _witness(created_ns: int, position: int) -> Witness | None:
    return Witness(NAME, created_ns, position) if position else None
