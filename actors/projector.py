"""The projector: owns the projections, keeps them up with the log and answers questions about them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import msgspec

from actors.breaker import BreakerSettings
from actors.clock import SystemClock
from actors.guard import BreakerOpen, Guard
from actors.hearing import hear
from actors.logs import logger
from actors.place import Fabric, Log, Place
from actors.shelf import Shelf
from esper.nissa import measured
from esper.nissa.projections import PROJECTIONS
from esper.nissa.questions import questions
from eventstore.errors import EventStoreError, StoreUnavailable
from eventstore.oona.telemetry import OonaTelemetry
from eventstore.projection.checkpoint import Checkpoint
from eventstore.projection.declare import Annex, Catalogue, Retention
from eventstore.projection.errors import (
    FrameGone,
    PositionNotReached,
    ProjectionsBroken,
    QueryRefused,
    QueryTimedOut,
    RefusalReason,
)
from eventstore.projection.frames import Frame
from eventstore.projection.live import LiveProjections, Question
from eventstore.projection.query import Answer, Halted
from eventstore.store import QueryBus, Request

QUERIES = "esper.qry.projections"
FRAMES = "esper.qry.projections.frame"
CHUNKS = "esper.qry.projections.chunk"
REBUILDS = "esper.qry.projections.rebuild"
BREAKER_NAME = "projector-answers"
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


class Framed(msgspec.Struct, frozen=True, tag="framed"):
    """The reply to a question whose whole result is ready to be fetched in chunks."""

    token: str
    size_bytes: int
    position: int
    halted: Halted | None


class Chunk(msgspec.Struct, frozen=True, tag="chunk"):
    """A part of a result."""

    data: bytes


class FetchChunk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request for the part of a result that begins at *offset*."""

    token: str
    offset: int


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


class NotReached(msgspec.Struct, frozen=True, tag="not_reached"):
    """The reply to a question that needs a position which did not come in time."""

    asked: int
    reached: int


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """The reply when the database fails, whatever is asked."""

    cause: str


class Resting(msgspec.Struct, frozen=True, tag="resting"):
    """The reply while the breaker before the database is open."""

    retry_in_s: float


class Gone(msgspec.Struct, frozen=True, tag="gone"):
    """The reply to a request for a chunk of a result that is not kept."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The reply when the log or the projections refuse: an error's own sentence."""

    sentence: str


Reply: TypeAlias = (
    Answered | Framed | Chunk | Rebuilt | Refused | TimedOut | NotReached | Broken | Resting | Gone | Failed
)


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
    guard = Guard(BREAKER_NAME, log.store, SystemClock(), BreakerSettings(), "projector")
    serving = _Serving(live, guard)
    try:
        await guard.restore()
        async with asyncio.TaskGroup() as group:
            group.create_task(live.follow())
            if telemetry is not None:
                group.create_task(hear(telemetry, live, ANNEX))
            for subject, reply in serving.subjects.items():
                group.create_task(_serve(log.bus.requests(subject), reply, group))
    finally:
        await live.close()


async def ask_projector(bus: QueryBus, question: Question, *, timeout_s: float = 30.0) -> Answer:
    """Put *question* to the running projector.

    Raises:
        QueryRefused, QueryTimedOut, PositionNotReached, ProjectionsBroken: as if the file had been asked.
        BreakerOpen: the database failed too often lately and is left alone for a while.
        StoreUnavailable: no projector is running: open the file instead.
    """
    reply = await _request(bus, QUERIES, msgspec.json.encode(question), timeout_s)
    if isinstance(reply, Answered):
        return reply.answer
    raise _error(reply)


async def ask_frame(bus: QueryBus, question: Question, *, timeout_s: float = 30.0) -> Frame:
    """Put *question* to the running projector and fetch the whole result, in as many messages as it takes.

    Raises:
        FrameTooLarge, ArrowMissing: as ProjectorFailed, in the projector's words.
        FrameGone: the projector gave the result up before the last chunk was fetched; ask again.
        StoreUnavailable and others: as `ask_projector`.
    """
    opened = await _request(bus, FRAMES, msgspec.json.encode(question), timeout_s)
    if not isinstance(opened, Framed):
        raise _error(opened)
    data = bytearray()
    while len(data) < opened.size_bytes:
        wanted = FetchChunk(token=opened.token, offset=len(data))
        chunk = await _request(bus, CHUNKS, msgspec.json.encode(wanted), timeout_s)
        if not isinstance(chunk, Chunk):
            raise _error(chunk)
        data += chunk.data
    return Frame(arrow=bytes(data), position=opened.position, halted=opened.halted)


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
        case NotReached(asked=asked, reached=reached):
            return PositionNotReached(asked, reached)
        case Broken(cause=cause):
            return ProjectionsBroken(cause)
        case Resting(retry_in_s=retry_in_s):
            return BreakerOpen(BREAKER_NAME, retry_in_s)
        case Gone():
            return FrameGone()
        case Failed(sentence=sentence):
            return ProjectorFailed(sentence)
        case Answered() | Rebuilt() | Framed() | Chunk():
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


class _Serving:
    """What the projector does with each kind of request."""

    def __init__(self, live: LiveProjections, guard: Guard) -> None:
        self._live, self._guard, self._shelf = live, guard, Shelf()
        self.subjects: dict[str, Callable[[bytes], Awaitable[Reply]]] = {
            QUERIES: self._answer,
            FRAMES: self._frame,
            CHUNKS: self._chunk,
            REBUILDS: self._rebuild,
        }

    async def _answer(self, data: bytes) -> Reply:
        async def answered(question: Question) -> Reply:
            return Answered(await self._live.ask(question))

        return await self._guarded(data, answered)

    async def _frame(self, data: bytes) -> Reply:
        async def framed(question: Question) -> Reply:
            frame = await self._live.frame(question)
            return Framed(self._shelf.put(frame.arrow), len(frame.arrow), frame.position, frame.halted)

        return await self._guarded(data, framed)

    async def _chunk(self, data: bytes) -> Reply:
        try:
            wanted = msgspec.json.decode(data, type=FetchChunk)
        except msgspec.MsgspecError as error:
            return _no_question(error)
        found = self._shelf.take(wanted.token, wanted.offset)
        return Gone() if found is None else Chunk(found)

    async def _rebuild(self, _: bytes) -> Reply:
        try:
            return Rebuilt(await self._live.rebuild())
        except EventStoreError as error:
            return Failed(str(error))

    async def _guarded(self, data: bytes, work: Callable[[Question], Awaitable[Reply]]) -> Reply:
        """Do *work* behind the breaker: what the database does wrong counts, what a question does wrong does not."""
        try:
            question = msgspec.json.decode(data, type=Question)
            async with self._guard.call(ProjectionsBroken):
                return await work(question)
        except msgspec.MsgspecError as error:
            return _no_question(error)
        except QueryRefused as error:
            return Refused(error.reason, error.detail)
        except QueryTimedOut as error:
            return TimedOut(error.limit_s)
        except PositionNotReached as error:
            return NotReached(error.asked, error.reached)
        except ProjectionsBroken as error:
            return Broken(error.cause)
        except BreakerOpen as error:
            return Resting(error.retry_in_s)
        except EventStoreError as error:
            return Failed(str(error))


def _no_question(error: msgspec.MsgspecError) -> Refused:
    return Refused("not_a_question", f"the request is not a question: {error}")
