"""A projection file that follows a log and answers questions meanwhile."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import duckdb
import msgspec

from eventstore.errors import LogCorrupt, LogReplaced, UnknownEventType
from eventstore.projection.batches import DEFAULT_BATCHING, Batching
from eventstore.projection.checkpoint import Checkpoint
from eventstore.projection.declare import Catalogue
from eventstore.projection.query import DEFAULT_LIMITS, Answer, Limits, answer
from eventstore.projection.rebuild import build_beside, open_for, swap_in
from eventstore.projection.runner import catch_up, keep_up
from eventstore.projection.sink import Sink
from eventstore.store import EventStore, Recorded

Result = TypeVar("Result")
QUESTIONS_AT_ONCE = 4


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """SQL, and the position its answer should know of; how long to wait for that before answering without."""

    sql: str
    min_position: int = 0
    wait_s: float = 5.0
    rows: int = DEFAULT_LIMITS.rows


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
        self.halted = ""

    @classmethod
    async def open(cls, store: EventStore, path: Path, catalogue: Catalogue) -> "LiveProjections":
        """Open the file at *path*, or create it, or rebuild it if *catalogue* has changed since.

        Raises:
            ProjectionsBusy: another process owns the file.
        """
        try:
            sink = await open_for(store, path, catalogue)
        except LogReplaced:
            # What is there can still be asked; `follow` meets the same error and says so.
            sink = await asyncio.to_thread(Sink, path, catalogue)
        return cls(store, path, catalogue, sink)

    @property
    def checkpoint(self) -> Checkpoint:
        """How far the file has come."""
        return self._sink.checkpoint

    async def follow(self, batching: Batching = DEFAULT_BATCHING) -> None:
        """Write everything recorded and to come, until cancelled. Halts, without ending, at a log it cannot trust.

        Raises:
            StoreUnavailable: the log does not answer; follow it again later.
        """
        while True:
            try:
                await keep_up(self._store, self._sink, self._write, batching)
            except (LogReplaced, LogCorrupt, UnknownEventType) as error:
                self._rebuilt.clear()
                await self._say(f"{error}; rebuild with: esper project --rebuild")
            await self._rebuilt.wait()

    async def ask(self, question: Question) -> Answer:
        """Answer *question*, after waiting a while for the position it names.

        Raises: as `eventstore.projection.query.answer`.
        """
        in_time = await self._reached(question.min_position, question.wait_s)
        limits = Limits(rows=question.rows)
        async with self._free:
            found = await self._in_thread(lambda: answer(self._sink.connection, question.sql, limits))
        return msgspec.structs.replace(found, lagging=not in_time, halted=self.halted)

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
            await self._say("")
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

    def _swap(self) -> None:
        self._sink.close()
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

    async def _say(self, halted: str) -> None:
        async with self._moved:
            self.halted = halted
            self._moved.notify_all()

    async def _reached(self, position: int, wait_s: float) -> bool:
        def decided() -> bool:
            return self._sink.checkpoint.position >= position or bool(self.halted)

        try:
            async with asyncio.timeout(wait_s), self._moved:
                await self._moved.wait_for(decided)
        except TimeoutError:
            pass
        return self._sink.checkpoint.position >= position

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
