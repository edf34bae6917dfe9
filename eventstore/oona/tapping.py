"""nats-py's client with taps: subscriptions that are handed messages as they come off the wire, headers unread.

For each message nats-py reads every header letter by letter, queues it and wakes a task: two thirds of the time of
reading a log, whose headers nobody reads. A tap takes the bytes instead. Should a later nats-py no longer call
`_process_msg`, a tapped subscription gets its messages the long way, and the test that they are taken short fails.
"""

from collections.abc import Callable
from typing import TypeAlias

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

Tap: TypeAlias = Callable[[bytes, bytes, bytes, bytes], None]
"""Called with a message's subject, reply, data and header block; it must not block, and must not raise."""


class TappingClient(Client):
    """A `nats.aio.client.Client` that can be tapped."""

    def __init__(self) -> None:
        super().__init__()
        self._taps: dict[int, Tap] = {}

    async def tap(self, subject: str, tap: Tap) -> Subscription:
        """Subscribe to *subject* and call *tap* for each message, in order; end it as any subscription."""

        async def the_long_way(message: Msg) -> None:
            lines = "".join(f"{name}: {value}\r\n" for name, value in (message.headers or {}).items())
            tap(message.subject.encode(), message.reply.encode(), message.data, f"NATS/1.0\r\n{lines}\r\n".encode())

        subscription = await self.subscribe(subject, cb=the_long_way, pending_msgs_limit=0, pending_bytes_limit=0)
        self._taps.update({sid: tap for sid, known in self._subs.items() if known is subscription})
        return subscription

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        tap = self._taps.get(sid)
        if tap is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            tap(subject, reply, data, headers or b"")

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._taps.pop(sid, None)
        super()._remove_sub(sid, max_msgs)


def header_fields(block: bytes) -> dict[str, str]:
    """Return the fields of a header *block*; of one that occurs twice, the last. A status is one of them."""
    first, *lines = block.decode(errors="replace").split("\r\n")
    code, _, description = first.removeprefix("NATS/1.0").strip().partition(" ")
    status = {"Status": code, "Description": description.strip()} if code else {}
    pairs = (line.partition(":") for line in lines if line)
    return status | {name.strip(): value.strip() for name, _, value in pairs}
