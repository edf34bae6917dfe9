"""The projector: owns the projections, keeps them up with the log and answers questions about them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import msgspec

from actors.hearing import hear
from actors.logs import logger
from actors.place import Fabric, Log, Place
from esper.nissa import measured
from esper.nissa.projections import PROJECTIONS
from esper.nissa.questions import questions
from eventstore.errors import EventStoreError, StoreUnavailable
from eventstore.oona.telemetry import OonaTelemetry
from eventstore.projection.checkpoint import Checkpoint
from eventstore.projection.declare import Annex, Catalogue, Retention
from eventstore.projection.errors import QueryRefused, QueryTimedOut, RefusalReason
from eventstore.projection.live import LiveProjections, Question
from eventstore.projection.query import Answer
from eventstore.store import QueryBus, Request

QUERIES = "esper.qry.projections"
REBUILDS = "esper.qry.projections.rebuild"
ANNEX = Annex(
    name=measured.NAME,
    tables=measured.TABLES,
    views=measured.views(),
    kept=(
        Retention(table=measured.POINTS, column="measured_at", days=measured.KEPT_DAYS, rows=measured.ROWS_AT_MOST),
        Retention(table=measured.REFUSED, column="heard_at", days=measured.KEPT_DAYS, rows=measured.ROWS_AT_MOST),
    ),
)
CATALOGUE = Catalogue(PROJECTIONS, questions(), ANNEX)


class Answered(msgspec.Struct, frozen=True, tag="answered"):
    """The reply to a question that could be answered."""

    answer: Answer


class Rebuilt(msgspec.Struct, frozen=True, tag="rebuilt"):
    """The reply to a rebuild that was done."""

    checkpoint: Checkpoint


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The reply to SQL that is not one harmless question."""

    reason: RefusalReason
    detail: str


class TimedOut(msgspec.Struct, frozen=True, tag="timed_out"):
    """The reply to a question that took too long."""

    limit_s: float


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The reply when the log or the projections refuse: an error's own sentence."""

    sentence: str


Reply: TypeAlias = Answered | Rebuilt | Refused | TimedOut | Failed


class ProjectorFailed(EventStoreError):
    """The projector could not do what it was asked; the message is the reason it gave."""


async def run_stack_projector(log: Fabric, place: Place) -> None:
    """Project what is recorded and what is measured, and answer, until cancelled; raises as `run_projector`."""
    await run_projector(log, place, log.telemetry)


async def run_projector(log: Log, place: Place, telemetry: OonaTelemetry | None = None) -> None:
    """Project and answer until cancelled; hear *telemetry* too, if the log's fabric has it.

    Raises:
        ProjectionsBusy: another process owns the file.
        StoreUnavailable: the log does not answer; to be started again later.
    """
    live = await LiveProjections.open(log.store, place.database, CATALOGUE)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(live.follow())
            if telemetry is not None:
                group.create_task(hear(telemetry, live, ANNEX))
            group.create_task(_serve(log.bus.requests(QUERIES), lambda data: _answer(live, data), group))
            group.create_task(_serve(log.bus.requests(REBUILDS), lambda _: _rebuild(live), group))
    finally:
        await live.close()


async def ask_projector(bus: QueryBus, question: Question, *, timeout_s: float = 30.0) -> Answer:
    """Put *question* to the running projector.

    Raises:
        QueryRefused, QueryTimedOut: as if the file had been asked.
        ProjectorFailed: the projector could not answer.
        StoreUnavailable: no projector is running: open the file instead.
    """
    reply = await _request(bus, QUERIES, msgspec.json.encode(question), timeout_s)
    if isinstance(reply, Answered):
        return reply.answer
    raise _error(reply)


async def ask_rebuild(bus: QueryBus, *, timeout_s: float = 600.0) -> Checkpoint:
    """Have the running projector make its file anew, and return the fresh file's checkpoint.

    Raises:
        ProjectorFailed: the log cannot be read to its end; the old file stays.
        StoreUnavailable: no projector is running: rebuild the file instead.
    """
    reply = await _request(bus, REBUILDS, b"", timeout_s)
    if isinstance(reply, Rebuilt):
        return reply.checkpoint
    raise _error(reply)


async def _request(bus: QueryBus, subject: str, data: bytes, timeout_s: float) -> Reply:
    return msgspec.json.decode(await bus.ask(subject, data, timeout_s=timeout_s), type=Reply)


def _error(reply: Reply) -> EventStoreError:
    match reply:
        case Refused(reason=reason, detail=detail):
            return QueryRefused(reason, detail)
        case TimedOut(limit_s=limit_s):
            return QueryTimedOut(limit_s)
        case Failed(sentence=sentence):
            return ProjectorFailed(sentence)
        case Answered() | Rebuilt():
            return ProjectorFailed(f"the projector answered another question: {type(reply).__name__}")


async def _serve(
    requests: AsyncIterator[Request], reply: Callable[[bytes], Awaitable[Reply]], group: asyncio.TaskGroup
) -> None:
    async for request in requests:
        group.create_task(_reply(request, reply))


async def _reply(request: Request, reply: Callable[[bytes], Awaitable[Reply]]) -> None:
    try:
        await request.answer(msgspec.json.encode(await reply(request.data)))
    except StoreUnavailable as error:
        # Nobody can be told; whoever asked has met the same outage.
        logger("projector").warning("an answer was not delivered", error=str(error))


async def _answer(live: LiveProjections, data: bytes) -> Reply:
    try:
        return Answered(await live.ask(msgspec.json.decode(data, type=Question)))
    except msgspec.MsgspecError as error:
        return Refused("not_a_question", f"the request is not a question: {error}")
    except QueryRefused as error:
        return Refused(error.reason, error.detail)
    except QueryTimedOut as error:
        return TimedOut(error.limit_s)


async def _rebuild(live: LiveProjections) -> Reply:
    try:
        return Rebuilt(await live.rebuild())
    except EventStoreError as error:
        return Failed(str(error))
