"""Asking Urza for a kernel long before it is needed, and hearing what became of it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from actors.clock import Clock
from actors.ids import derived_id
from actors.place import Log
from actors.streams import kernel_stream, seed_stream
from esper.leyline.v1.kernel_pb2 import KernelRegistered, KernelRejected, KernelSpec, OwnKernel, RequestKernel
from esper.leyline.v1.seed_pb2 import SeedGerminated
from eventstore.errors import StoreUnavailable
from eventstore.store import CommandRecord, Recorded

KernelAnswer: TypeAlias = KernelRegistered | KernelRejected
Opened = TypeVar("Opened")


class Fetched(NamedTuple, Generic[Opened]):
    """What Urza has answered, as it was recorded, and what was read; None if she rejected the kernel."""

    answer: KernelAnswer
    told: Recorded
    opened: Opened | None


class Prefetch:
    """One run's requests for kernels. All coroutines run on the background loop."""

    def __init__(self, log: Log, run_id: str, clock: Clock) -> None:
        self._log, self._run_id, self._clock = log, run_id, clock

    async def ask(self, seed_id: str, spec: KernelSpec, key: str, own: OwnKernel | None = None) -> None:
        """Ask for the kernel of *spec*, because the seed germinated; asking twice is harmless.

        *own* is that kernel, if this process has made it because nobody else can.

        Raises:
            StoreUnavailable: not known whether the request was queued.
        """
        stream = kernel_stream(key)
        germinated = next(
            recorded
            for recorded in reversed(await self._log.store.read_stream(seed_stream(self._run_id, seed_id)))
            if isinstance(recorded.event, SeedGerminated)
        )
        command_id = derived_id(self._run_id, str(stream), f"request/{seed_id}/{germinated.event_id}")
        await self._log.bus.send(
            CommandRecord(
                command_id=command_id,
                target="urza",
                command=RequestKernel(spec=spec, request_id=command_id, run_id=self._run_id, seed_id=seed_id, own=own),
                stream=stream,
                issued_at_ns=self._clock.now_ns(),
                issued_by="kasmina",
                causation_id=germinated.event_id,
                correlation_id=self._run_id,
                run_id=self._run_id,
                traceparent=germinated.context.traceparent,
            )
        )

    async def answer(self, key: str) -> tuple[KernelAnswer, Recorded]:
        """Wait until Urza has answered for *key*; return her last answer, and as it was recorded.

        Raises:
            StoreUnavailable: the log did not answer.
        """
        stream = kernel_stream(key)
        head = (await self._log.store.identity()).last_position
        answer = _last_answer(await self._log.store.read_stream(stream))
        if answer is not None:
            return answer
        async for recorded in self._log.store.follow(after=head):
            if recorded.stream == stream and (answer := _last_answer([recorded])) is not None:
                return answer
        raise AssertionError("follow ends only when it is closed")

    async def fetch(
        self,
        seed_id: str,
        spec: KernelSpec,
        key: str,
        read: Callable[[str], Opened],
        ask_within_s: float,
        own: OwnKernel | None = None,
    ) -> Fetched[Opened]:
        """Ask, wait for the answer, and let *read* make something of the kernel's id, in a thread of its own.

        Raises:
            StoreUnavailable: the log did not answer; not known whether the request was queued.
            LogFull: it was not.
        """
        try:
            async with asyncio.timeout(ask_within_s):
                await self.ask(seed_id, spec, key, own)
        except TimeoutError as late:
            raise StoreUnavailable("asking for a kernel", f"no answer within {ask_within_s} s") from late
        answer, told = await self.answer(key)
        opened = None if isinstance(answer, KernelRejected) else await asyncio.to_thread(read, answer.kernel_id)
        return Fetched(answer, told, opened)


def _last_answer(events: Sequence[Recorded]) -> tuple[KernelAnswer, Recorded] | None:
    for recorded in reversed(events):
        if isinstance(recorded.event, KernelRegistered | KernelRejected):
            return recorded.event, recorded
    return None
