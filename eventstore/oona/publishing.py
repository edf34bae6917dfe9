"""Many messages on their way to their streams at once, each with a deadline, over one inbox."""

import asyncio
from collections.abc import Mapping
from itertools import count
from uuid import uuid4

from nats.aio.msg import Msg

from eventstore.errors import StoreUnavailable
from eventstore.oona.connection import Connection

SWEEP_S = 0.25
_NOBODY_LISTENS = "503"


class Publisher:
    """Sends messages that are to be acknowledged, as many at once as there are callers.

    Every call ends: with the acknowledgement, at its deadline, or when the connection is lost. nats-py's own
    `publish_async` has no deadlines, and its futures are never resolved when the connection is lost; its `request`
    takes a task and several futures for each message.
    """

    def __init__(self, connection: Connection) -> None:
        """Publish over *connection*, which may not be open yet."""
        self._connection = connection
        self._prefix = ""
        self._numbers = count()
        self._waiting: dict[str, tuple[float, asyncio.Future[Msg]]] = {}
        self._opening = asyncio.Lock()
        self._watched: asyncio.Future[None] | None = None
        self._sweeping = False

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str], *, doing: str, wait_s: float) -> Msg:
        """Send and return the acknowledgement.

        Raises:
            StoreUnavailable: not connected, no stream takes *subject*, no answer in time, or the connection was lost.
        """
        if not self._prefix:
            await self._open()
        loop = asyncio.get_running_loop()
        inbox, answer = f"{self._prefix}.{next(self._numbers)}", loop.create_future()
        self._waiting[inbox] = loop.time() + wait_s, answer
        self._watch(loop)
        try:
            await self._connection.publish(subject, data, doing=doing, reply=inbox, headers=headers)
            message: Msg = await answer
        except TimeoutError as error:
            why = self._connection.why_silent(subject, f"no answer within {wait_s:g} s")
            raise StoreUnavailable(doing, why) from error
        except ConnectionError as error:
            raise StoreUnavailable(doing, "the connection was lost") from error
        finally:
            self._waiting.pop(inbox, None)
        if not message.data and message.headers and message.headers.get("Status") == _NOBODY_LISTENS:
            raise StoreUnavailable(doing, "no stream takes it: there is none, or it has no leader now")
        return message

    async def _open(self) -> None:
        async with self._opening:
            if not self._prefix:
                prefix = f"{self._connection.new_inbox()}.{uuid4().hex}"
                await self._connection.subscribe(f"{prefix}.*", self._on_answer)
                self._prefix = prefix

    async def _on_answer(self, message: Msg) -> None:
        waiting = self._waiting.get(message.subject)
        if waiting is not None and not waiting[1].done():
            waiting[1].set_result(message)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that what waits now ends with its deadline, or with this connection."""
        lost = self._connection.lost
        if self._watched is not lost:
            self._watched = lost
            lost.add_done_callback(self._on_lost)
        if not self._sweeping:
            self._sweeping = True
            loop.call_later(SWEEP_S, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for due, answer in self._waiting.values():
            if due <= now and not answer.done():
                answer.set_exception(TimeoutError())
        self._sweeping = bool(self._waiting)
        if self._sweeping:
            loop.call_later(SWEEP_S, self._sweep, loop)

    def _on_lost(self, _: "asyncio.Future[None]") -> None:
        for _due, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError())
