"""Appends that wait at the same time travel as one batch, so that they share the syncs of the server's disk.

idle ──append──> alone ──more than a group costs──> queue ──batch──> group ──done──> queue
                   ^                                  │ too few to be worth it
                   └──────────────────────────────────┘
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from eventstore.errors import StoreUnavailable
from eventstore.oona.jetstream import BATCHES_REFUSED, JetStream, Outgoing, Published, Refused

GROUP_AT_MOST = 128
GROUPS_AT_ONCE = 2
GROUP_BYTES_AT_MOST = 4 * 1024 * 1024
WORTH_AT_LEAST, WORTH_AT_FIRST, WORTH_AT_MOST = 4, 8, 64
_NEWEST_WEIGHS = 0.125

_log = logging.getLogger("eventstore.oona")


class Worth:
    """How many messages must wait before a batch, which costs the server several syncs, is faster than each alone.

    Both are measured as they go: a disk that syncs in a tenth of a millisecond wants large groups, a slow one small.
    """

    def __init__(self) -> None:
        self._alone_s = 0.0
        self._group_s = 0.0

    @property
    def messages(self) -> int:
        """From how many messages on a group is worth it."""
        if not (self._alone_s and self._group_s):
            return WORTH_AT_FIRST
        return round(min(max(self._group_s / self._alone_s, WORTH_AT_LEAST), WORTH_AT_MOST))

    def alone(self, took_s: float, ahead: int) -> None:
        """Note how long one message took that *ahead* others were on their way before."""
        self._alone_s = _smoothed(self._alone_s, took_s / (ahead + 1))

    def group(self, took_s: float) -> None:
        """Note how long one group took."""
        self._group_s = _smoothed(self._group_s, took_s)


class _Queued(msgspec.Struct, frozen=True):
    message: Outgoing
    outcome: "asyncio.Future[Published | None]"


class Grouping:
    """Publishes appends: alone while few are on their way, else those that queued meanwhile as one atomic batch.

    Every append keeps its own promise. A batch is stored whole or refused whole, so that one refused because of one
    stale member, or not answered, says nothing of the others: then each is sent alone, under the same id and the same
    expectation, as if there had been no batch. A batch holds at most one message for each subject, because the server
    judges expectations by what was stored before the batch: who wants to write to the same subject is sent alone after
    it. Nobody waits for company: no timer is involved.
    """

    def __init__(self, jetstream: JetStream, *, allowed: bool) -> None:
        """Publish over *jetstream*; *allowed* says whether the stream takes batches."""
        self._jetstream = jetstream
        self._allowed = allowed
        self._worth = Worth()
        self._queue = deque[_Queued]()
        self._alone = 0
        self._groups = set[asyncio.Task[None]]()
        self._on_way = Counter[str]()
        self._due = False

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str], *, doing: str) -> Published:
        """Store one message; `JetStream.publish` says how this ends."""
        message = Outgoing(subject, data, dict(headers))
        if self._must_queue():
            queued = _Queued(message, asyncio.get_running_loop().create_future())
            self._queue.append(queued)
            self._look_soon()
            published = await queued.outcome
            if published is not None:
                return published
        return await self._publish_alone(message, doing)

    def _must_queue(self) -> bool:
        if not self._allowed:
            return False
        return bool(self._groups or self._queue) or self._alone >= self._worth.messages

    async def _publish_alone(self, message: Outgoing, doing: str) -> Published:
        loop, ahead = asyncio.get_running_loop(), self._alone
        began = loop.time()
        self._alone += 1
        self._on_way[message.subject] += 1
        try:
            published = await self._jetstream.publish(message.subject, message.data, message.headers, doing=doing)
            if not self._groups:
                self._worth.alone(loop.time() - began, ahead)
            return published
        finally:
            self._alone -= 1
            self._left(message.subject)
            if self._queue:
                self._look_soon()

    def _look_soon(self) -> None:
        """Look at the queue once everybody who is ready to run now has joined it."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        """Send what is worth a group; the next is made while the server is at work on the one before."""
        self._due = False
        while self._allowed and len(self._queue) >= self._worth.messages and len(self._groups) < GROUPS_AT_ONCE:
            self._groups.add(asyncio.ensure_future(self._send(*self._take())))
        if not self._groups:
            for _ in range(min(len(self._queue), self._worth.messages - self._alone)):
                _settle(self._queue.popleft(), None)

    def _take(self) -> tuple[list[_Queued], list[_Queued]]:
        """Take from the queue, in order, a group and those that want to write where one on its way does."""
        group, rivals, room = list[_Queued](), list[_Queued](), GROUP_BYTES_AT_MOST
        while self._queue and len(group) < GROUP_AT_MOST and (room >= len(self._queue[0].message.data) or not group):
            queued = self._queue.popleft()
            if queued.outcome.cancelled():
                continue
            if queued.message.subject in self._on_way:
                rivals.append(queued)
                continue
            group.append(queued)
            self._on_way[queued.message.subject] += 1
            room -= len(queued.message.data)
        return group, rivals

    async def _send(self, group: list[_Queued], rivals: list[_Queued]) -> None:
        places: Sequence[Published | None] = [None] * len(group)
        try:
            if len(group) > 1:
                places = await self._places([queued.message for queued in group])
        finally:
            for queued, place in zip(group, places, strict=True):
                _settle(queued, place)
                self._left(queued.message.subject)
            for queued in rivals:
                _settle(queued, None)
            self._groups.discard(cast("asyncio.Task[None]", asyncio.current_task()))
            self._look_soon()

    def _left(self, subject: str) -> None:
        self._on_way[subject] -= 1
        if not self._on_way[subject]:
            del self._on_way[subject]

    async def _places(self, messages: list[Outgoing]) -> Sequence[Published | None]:
        """Store *messages* together and return where each is; None for each if that is not certain."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            last = await self._jetstream.publish_together(messages, doing=f"appending {len(messages)} commits together")
        except Refused as refused:
            if refused.err_code in BATCHES_REFUSED:
                self._allowed = False
                _log.warning("the server takes no batches, every append travels alone: %s", refused.description)
            return [None] * len(messages)
        except StoreUnavailable:
            return [None] * len(messages)
        self._worth.group(loop.time() - began)
        return [Published(seq=last.seq - len(messages) + number) for number in range(1, len(messages) + 1)]


def _settle(queued: _Queued, published: Published | None) -> None:
    if not queued.outcome.done():
        queued.outcome.set_result(published)


def _smoothed(before: float, now: float) -> float:
    return before + (now - before) * _NEWEST_WEIGHS if before else now
