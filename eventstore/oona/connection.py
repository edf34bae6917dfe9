"""One NATS connection that never hangs, never gives up, and says at once when it is down."""

import asyncio
import logging
import re
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from eventstore.errors import StoreUnavailable
from eventstore.oona.credentials import Login, inbox_of, login_in, without_password
from eventstore.oona.tapping import Tap, TappingClient

CONNECT_WAIT_S = 5.0
REQUEST_WAIT_S = 2.0
RECONNECT_PAUSE_S = 0.2
PING_S = 10
_WORD_LATE_S = 0.01
_FORBIDDEN = re.compile(r'permissions violation for publish to "([^"]+)"')

_log = logging.getLogger("eventstore.oona")


class Connection:
    """A NATS client whose every request ends: with an answer, or with `StoreUnavailable`.

    While the server is away it reconnects in the background for ever; meanwhile nothing is buffered - a request that
    cannot be sent now fails now, so that nothing is written long after its caller has given up.
    """

    def __init__(self) -> None:
        self._client = TappingClient()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._back = asyncio.Event()
        self._forbidden: set[str] = set()
        self._shut_out: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(
        self,
        url: str,
        *,
        name: str,
        wait_s: float = CONNECT_WAIT_S,
        authority: str = "",
        login: Login | None = None,
    ) -> None:
        """Connect to *url*, or to the first that answers of several, separated by commas: the nodes of a cluster.

        With TLS if it begins with `tls:`, trusting the certificates of the file *authority* only. As the user *login*,
        or as the one that *url* names, if it names one.

        Raises:
            StoreUnavailable: there was no connection within *wait_s* seconds.
        """
        options: dict[str, Any] = {
            "name": name,
            "error_cb": self._on_error,
            "disconnected_cb": self._on_lost,
            "reconnected_cb": self._on_back,
            "ping_interval": PING_S,
            "max_outstanding_pings": 2,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT_PAUSE_S,
            "connect_timeout": wait_s,
            "pending_size": 0,
        }
        who = login or login_in(url)
        if who is not None:
            url = without_password(url)
            options |= {"user": who.name, "password": who.password, "inbox_prefix": inbox_of(who.name)}
        if url.startswith("tls:"):
            options["tls"] = ssl.create_default_context(cafile=authority or None)
        try:
            await self._connect(url, options, wait_s)
        except (TimeoutError, OSError, nats.errors.Error) as error:
            doing = f"connecting to {without_password(url)}"
            why = str(error) or str(self._client.last_error or "") or f"no answer within {wait_s:g} s"
            raise StoreUnavailable(doing, why) from error
        self._back.set()

    async def _connect(self, url: str, options: dict[str, Any], wait_s: float) -> None:
        """Connect; give up in time, or at once where we are turned away: nats-py itself goes on knocking for ever."""
        connecting = asyncio.ensure_future(self._client.connect(url.split(","), **options))
        try:
            await asyncio.wait({connecting, self._shut_out}, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                raise TimeoutError
            await connecting
        finally:
            # One cancellation may be lost: `asyncio.wait_for` of Python 3.11 swallows it when it ends at that moment.
            while not connecting.done():
                connecting.cancel()
                await asyncio.wait({connecting}, timeout=_WORD_LATE_S)

    async def close(self) -> None:
        """Close the connection; harmless when the server is gone or it is closed already."""
        try:
            await self._client.close()
        except (OSError, nats.errors.Error) as error:
            _log.debug("connection closed uncleanly: %s", error)

    @property
    def connected(self) -> bool:
        """Whether a request would be sent now, and its caller told if the connection is lost meanwhile."""
        return self._client.is_connected and not self._lost.done()

    @property
    def closed(self) -> bool:
        """Whether it was closed for good."""
        return self._client.is_closed

    @property
    def lost(self) -> "asyncio.Future[None]":
        """A future that is done once the present connection is lost; a new one after each reconnection."""
        return self._lost

    @property
    def max_payload(self) -> int:
        """The most bytes that the server takes in one message."""
        return self._client.max_payload

    async def until_back(self) -> None:
        """Wait until there is a connection, or it was closed for good.

        nats-py says that a connection is lost a moment after it is: a caller that only waited for its word would be
        sent back at once, again and again, and the word would never come.
        """
        while not self._client.is_closed:
            await self._back.wait()
            if self._client.is_connected:
                return
            await asyncio.sleep(_WORD_LATE_S)

    def new_inbox(self) -> str:
        """Return a subject that only this connection listens to."""
        return self._client.new_inbox()

    async def request(
        self,
        subject: str,
        data: bytes,
        *,
        doing: str,
        headers: Mapping[str, str] | None = None,
        wait_s: float = REQUEST_WAIT_S,
    ) -> Msg:
        """Ask and return the answer.

        Raises:
            StoreUnavailable: not connected, nobody listens, no answer in time, or the connection was lost meanwhile.
        """
        self._require(doing)
        lost = self._lost
        asking = asyncio.ensure_future(
            self._client.request(subject, data, timeout=wait_s, headers=dict(headers) if headers else None)
        )
        asking.add_done_callback(_note_outcome)
        try:
            await asyncio.wait({asking, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise StoreUnavailable(doing, "the connection was lost")
            return asking.result()
        except (nats.errors.Error, OSError) as error:
            raise StoreUnavailable(doing, self.why_silent(subject, str(error).removeprefix("nats: "))) from error
        finally:
            asking.cancel()

    async def publish(
        self, subject: str, data: bytes, *, doing: str, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send without waiting for an answer.

        Raises:
            StoreUnavailable: not connected.
        """
        self._require(doing)
        try:
            await self._client.publish(subject, data, reply=reply, headers=dict(headers) if headers else None)
        except (nats.errors.Error, OSError) as error:
            raise StoreUnavailable(doing, str(error).removeprefix("nats: ")) from error

    async def publish_each(self, messages: Iterable[tuple[str, bytes, str]], *, doing: str) -> None:
        """Send each (subject, data, reply) in order, without waiting for answers: `publish` for many at once.

        Raises:
            StoreUnavailable: not connected; the messages before the one that was taken last are sent.
        """
        self._require(doing)
        send = self._client.publish
        try:
            for subject, data, reply in messages:
                await send(subject, data, reply)
        except (nats.errors.Error, OSError) as error:
            raise StoreUnavailable(doing, str(error).removeprefix("nats: ")) from error

    async def subscribe(self, subject: str, callback: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Call *callback* for each message on *subject*, one after the other, also after reconnections."""
        self._require(f"subscribing to {subject}")
        return await self._client.subscribe(subject, cb=callback, pending_msgs_limit=0, pending_bytes_limit=0)

    async def tap(self, subject: str, tap: Tap) -> Subscription:
        """Call *tap* for each message on *subject* as it arrives, also after reconnections: for flows of many."""
        self._require(f"subscribing to {subject}")
        return await self._client.tap(subject, tap)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """End *subscription*; harmless when the connection is down or closed."""
        try:
            await subscription.unsubscribe()
        except nats.errors.Error as error:
            _log.debug("subscription to %s ended uncleanly: %s", subscription.subject, error)

    def why_silent(self, subject: str, otherwise: str) -> str:
        """Return why there was no answer on *subject*: the server's word if it forbids us to ask there."""
        if subject.lower() in self._forbidden:
            return f"this user may not publish to {subject}: connect as one that may"
        return otherwise

    def _require(self, doing: str) -> None:
        if not self.connected:
            raise StoreUnavailable(doing, "not connected")

    async def _on_error(self, error: Exception) -> None:
        if "authorization violation" in str(error).lower() and not self._shut_out.done():
            self._shut_out.set_result(None)
        told = _FORBIDDEN.search(str(error).lower())
        if told:
            self._forbidden.add(told[1])
        _log.warning("connection trouble: %s", str(error) or type(error).__name__)

    async def _on_lost(self) -> None:
        self._back.clear()
        if not self._lost.done():
            self._lost.set_result(None)
        if not self._client.is_closed:
            _log.warning("connection lost")

    async def _on_back(self) -> None:
        self._lost = asyncio.get_running_loop().create_future()
        self._back.set()
        _log.info("connection is back")


def _note_outcome(asking: "asyncio.Future[Msg]") -> None:
    """Look at the outcome of a request nobody waits for any more, so that asyncio does not complain of neglect."""
    if not asking.cancelled():
        asking.exception()
