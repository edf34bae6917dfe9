"""A projection file that follows a log and answers questions meanwhile."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias, TypeVar

import duckdb
import msgspec

from eventstore.errors import LogCorrupt, LogReplaced, UnknownEventType
from eventstore.projection.batches import DEFAULT_BATCHING, Batching
from eventstore.projection.checkpoint import Checkpoint
from eventstore.projection.declare import Catalogue
from eventstore.projection.errors import PositionNotReached
from eventstore.projection.frames import Frame, frame
from eventstore.projection.query import DEFAULT_LIMITS, Answer, Halted, Limits, Past, answer
from eventstore.projection.rebuild import build_beside, swap_in
from eventstore.projection.runner import catch_up, keep_up
from eventstore.projection.sink import Sink
from eventstore.store import EventStore, Recorded

Result = TypeVar("Result")
QUESTIONS_AT_ONCE = 4
Ask: TypeAlias = Callable[[duckdb.DuckDBPyConnection, str, Limits, Past | None], Result]


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SQL, and what its answer must know: at least *min_position*, or the tables as they stood *at* a position.

    *wait_s* is how long to wait for either before giving up.
    """

    sql: str
    min_position: int = 0
    at: int | None = None
    wait_s: float = 5.0
    rows: int = DEFAULT_LIMITS.rows
    seconds: float = DEFAULT_LIMITS.seconds


class LiveProjections:
    """Owns one projection file: writes what the log brings, answers questions, rebuilds while doing both.

    Belongs to one event loop, which it never blocks. When the log cannot be trusted any more it stops writing, goes on
    answering, and says why in each answer.
    """

    def __init__(self, store: EventStore, path: Path, catalogue: Catalogue, sink: Sink) -> None:
        """Take over *sink*; use `open`."""
        self._store, self._path, self._catalogue, self._sink = store, path, catalogue, sink
        self._threads = ThreadPoolExecutor(QUESTIONS_AT_ONCE + 1, thread_name_prefix="projections")
        self._free = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        self._writing, self._rebuilding = asyncio.Lock(), asyncio.Lock()
        self._moved = asyncio.Condition()
        self._rebuilt = asyncio.Event()
        self.halted: Halted | None = None

    @classmethod
    async def open(cls, store: EventStore, path: Path, catalogue: Catalogue) -> "LiveProjections":
        """Open the file at *path*, or create it. What other projections made is asked as it is until it was rebuilt.

        Raises:
            ProjectionsBusy: another process owns the file.
        """
        return cls(store, path, catalogue, await asyncio.to_thread(Sink, path, catalogue))

    @property
    def checkpoint(self) -> Checkpoint:
        """How far the file has come."""
        return self._sink.checkpoint

    async def follow(self, batching: Batching = DEFAULT_BATCHING) -> None:
        """Write everything recorded and to come, until cancelled. Halts, without ending, at a log it cannot trust.

        Raises:
            StoreUnavailable: the log does not answer; follow it again later.
        """
        if self._sink.outdated:
            await self._renew()
        while True:
            self._rebuilt.clear()
            try:
                await keep_up(self._store, self._sink, self._write, batching)
            except (LogReplaced, LogCorrupt, UnknownEventType) as error:
                await self._say(self._halt(error))
            await self._rebuilt.wait()

    async def ask(self, question: Question) -> Answer:
        """Answer *question*, after waiting a while for the position it names.

        Raises: as `eventstore.projection.query.asking`; PositionNotReached also for `min_position`.
        """
        found = await self._asked(question, answer)
        return msgspec.structs.replace(found, halted=self.halted)

    async def frame(self, question: Question) -> Frame:
        """Answer *question* with all its rows, as Arrow; its `rows` limit does not count.

        Raises: as `ask`; FrameTooLarge, ArrowMissing.
        """
        found = await self._asked(question, frame)
        return msgspec.structs.replace(found, halted=self.halted)

    async def rebuild(self) -> Checkpoint:
        """Make the file anew from the log's beginning and put it in place between two answers.

        Raises:
            LogCorrupt, UnknownEventType: the log cannot be read to its end; the old file stays.
        """
        async with self._rebuilding:
            fresh = await build_beside(self._store, self._path, self._catalogue)
            async with self._standstill():
                try:
                    # From here on the fresh file knows at least what the old one knew: the follower leaves no gap.
                    await catch_up(self._store, fresh)
                finally:
                    await self._in_thread(fresh.close)
                await self._in_thread(self._swap)
            await self._say(None)
            self._rebuilt.set()
            return self._sink.checkpoint

    async def beside(self, work: Callable[[duckdb.DuckDBPyConnection], Result]) -> Result:
        """Run *work*, which may write into the catalogue's annex, between two other writings; return its result."""

        def worked() -> Result:
            with self._sink.connection.cursor() as cursor:
                return work(cursor)

        async with self._writing:
            return await self._in_thread(worked)

    async def close(self) -> None:
        """Let go of the file, after the questions that are being answered."""
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._sink.close)

    async def _asked(self, question: Question, ask: Ask[Result]) -> Result:
        await self._reach(max(question.min_position, question.at or 0), question.wait_s)
        limits = Limits(rows=question.rows, seconds=min(question.seconds, DEFAULT_LIMITS.seconds))
        past = None if question.at is None else Past(question.at, self._catalogue)
        async with self._free:
            return await self._in_thread(lambda: ask(self._sink.connection, question.sql, limits, past))

    async def _renew(self) -> None:
        """Replace a file that other projections made; meanwhile it answers as it is, and says so."""
        detail = "the file was made by other projections and is being rebuilt for these"
        await self._say(Halted(position=self._sink.checkpoint.position, fault="ProjectionsOutdated", detail=detail))
        try:
            self._sink.checkpoint.check_log(await self._store.identity())
            await self.rebuild()
        except (LogReplaced, LogCorrupt, UnknownEventType) as error:
            self._rebuilt.clear()
            await self._say(self._halt(error))
            await self._rebuilt.wait()

    def _halt(self, error: Exception) -> Halted:
        detail = f"{error}; rebuild with: esper project --rebuild"
        return Halted(position=self._sink.checkpoint.position, fault=type(error).__name__, detail=detail)

    def _swap(self) -> None:
        self._sink.abandon()
        try:
            swap_in(self._path)
        finally:
            self._sink = Sink(self._path, self._catalogue)

    @asynccontextmanager
    async def _standstill(self) -> AsyncGenerator[None, None]:
        """Hold off every writer and every question."""
        async with AsyncExitStack() as held:
            await held.enter_async_context(self._writing)
            for _ in range(QUESTIONS_AT_ONCE):
                await held.enter_async_context(self._free)
            yield

    async def _write(self, batch: list[Recorded]) -> None:
        async with self._writing:
            await self._in_thread(lambda: self._sink.write(batch))
        async with self._moved:
            self._moved.notify_all()

    async def _say(self, halted: Halted | None) -> None:
        async with self._moved:
            self.halted = halted
            self._moved.notify_all()

    async def _reach(self, position: int, wait_s: float) -> None:
        """Return when *position* is in the file, or will not come because the projections are halted.

        Raises:
            PositionNotReached: neither happened in time.
        """

        def decided() -> bool:
            return self._sink.checkpoint.position >= position or self.halted is not None

        try:
            async with asyncio.timeout(wait_s), self._moved:
                await self._moved.wait_for(decided)
        except TimeoutError as late:
            raise PositionNotReached(position, self._sink.checkpoint.position) from late

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
