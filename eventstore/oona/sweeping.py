"""Settled commands are evidence for a while, and then make room: those that nobody has settled are never touched."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from eventstore.errors import StoreUnavailable
from eventstore.oona.jetstream import Answer, JetStream, Refused, StreamInfo
from eventstore.oona.streams import ADVISORY, COMMANDS

DAY_S = 24 * 3600


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """For how long a settled command is kept: *seconds*; *least_seconds* once the stream is filled to *full_share*."""

    seconds: float = 30 * DAY_S
    least_seconds: float = 600.0
    full_share: float = 0.5


class _Floor(msgspec.Struct, frozen=True):
    stream_seq: int = 0


class _Reader(msgspec.Struct, frozen=True):
    """A durable reader as the server describes it."""

    name: str
    config: dict[str, Any] = {}
    ack_floor: _Floor = _Floor()
    delivered: _Floor = _Floor()
    num_pending: int = 0
    num_ack_pending: int = 0

    @property
    def settled_to(self) -> int:
        """The position up to which everything of its own is settled.

        A message that was delivered as often as may be and then buried holds the floor down until the next one is
        acknowledged, although nothing is unsettled.
        """
        return (self.ack_floor if self.num_ack_pending else self.delivered).stream_seq

    @property
    def filters(self) -> tuple[str, ...]:
        several = self.config.get("filter_subjects")
        return tuple(several) if several else (self.config.get("filter_subject") or ">",)


class _Readers(Answer, frozen=True):
    total: int = 0
    consumers: tuple[_Reader, ...] = ()


class _Purged(Answer, frozen=True):
    purged: int = 0


Kind = TypeVar("Kind", bound=Answer)


class SettledCommands:
    """What is left in the stream of commands after its readers are done with it."""

    def __init__(self, jetstream: JetStream) -> None:
        self._jetstream = jetstream

    async def sweep(self, keeping: Keeping, *, now_ns: int) -> Mapping[str, int]:
        """Remove the settled commands that are no longer to be kept; return how many for each reader that had some.

        A command is settled when its reader has acknowledged it and all before it, or buried it. Commands for whom
        there is no reader stay. While a command that killed its reader waits to be buried, or nobody would bury it,
        nothing is removed at all.

        Raises:
            StoreUnavailable: the server did not answer; some may have been removed.
        """
        undertakers = await self._readers(ADVISORY)
        if not undertakers or any(reader.num_pending + reader.num_ack_pending for reader in undertakers):
            return {}
        readers, info = await self._readers(COMMANDS), await self._info()
        full = info.state.bytes >= keeping.full_share * info.config["max_bytes"] > 0
        until_ns = now_ns - int((keeping.least_seconds if full else keeping.seconds) * 1e9)
        swept = {reader.name: await self._sweep(reader, info.state.first_seq, until_ns) for reader in readers}
        return {name: many for name, many in swept.items() if many}

    async def _sweep(self, reader: _Reader, first: int, until_ns: int) -> int:
        purged = 0
        for subject in reader.filters:
            end = await self._first_younger(subject, first, reader.settled_to + 1, until_ns)
            if end > first:
                body = {"filter": subject, "seq": end}
                answer = await self._ask(f"STREAM.PURGE.{COMMANDS}", body, _Purged, f"sweeping {subject}")
                purged += answer.purged
        return purged

    async def _first_younger(self, subject: str, first: int, end: int, until_ns: int) -> int:
        """Return the first position in [*first*, *end*) from which on nothing on *subject* is older than *until_ns*."""
        while first < end:
            middle = (first + end) // 2
            found = await self._jetstream.next_message(COMMANDS, subject, middle)
            if found is None or found.seq >= end or found.stored_at_ns > until_ns:
                end = middle
            else:
                first = found.seq + 1
        return first

    async def _readers(self, stream: str) -> list[_Reader]:
        readers: list[_Reader] = []
        while True:
            doing = f"listing the readers of {stream}"
            page = await self._ask(f"CONSUMER.LIST.{stream}", {"offset": len(readers)}, _Readers, doing)
            readers += page.consumers
            if not page.consumers or len(readers) >= page.total:
                return readers

    async def _info(self) -> StreamInfo:
        info = await self._jetstream.stream_info(COMMANDS)
        if info is None:
            raise StoreUnavailable(f"sweeping {COMMANDS}", "there is no such stream")
        return info

    async def _ask(self, verb: str, body: object, kind: type[Kind], doing: str) -> Kind:
        try:
            return await self._jetstream.ask(verb, body, kind, doing=doing)
        except Refused as refused:
            raise StoreUnavailable(doing, refused.description) from refused
