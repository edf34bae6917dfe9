"""Durable readers: the server remembers, across restarts, what each was given and what it acknowledged."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from eventstore.errors import LogMisconfigured, StoreUnavailable
from eventstore.oona.jetstream import CONSUMER_EXISTS, CREATION_WAIT_S, ConsumerInfo, JetStream, Refused
from eventstore.oona.pull import Interrupted, Pull, Raw

NO_LIMIT = -1
PAUSE_S = 0.05

_log = logging.getLogger("eventstore.oona")


class DurableReader:
    """One named reader of one stream, that takes one message at a time and is given it again until it acknowledges."""

    def __init__(self, jetstream: JetStream, stream: str, name: str) -> None:
        self._jetstream = jetstream
        self._stream = stream
        self._name = name

    async def messages(
        self, filters: Sequence[str], *, ack_wait_s: float, max_unsettled: int, deliveries_at_most: int = NO_LIMIT
    ) -> AsyncGenerator[Raw, None]:
        """Yield messages on *filters*, oldest first, without end, across lost connections.

        One that was given out *deliveries_at_most* times and never settled is not given out again; the server says so
        in an advisory when it would be its turn.

        Raises:
            LogMisconfigured: the reader exists with other filters, so that it may have passed over some of these.
            StoreUnavailable: the server did not answer at the start.
        """
        await self._ensure(filters, ack_wait_s, max_unsettled, deliveries_at_most, "explicit")
        async with aclosing(self._flow(batch=1)) as batches:
            async for batch in batches:
                for raw in batch:
                    yield raw

    async def batches(
        self, filters: Sequence[str], *, batch: int, ack_wait_s: float, max_unsettled: int
    ) -> AsyncGenerator[list[Raw], None]:
        """Yield what has come, as `messages`, many at once; acknowledging one settles all before it too.

        Raises: as `messages`.
        """
        await self._ensure(filters, ack_wait_s, max_unsettled, NO_LIMIT, "all")
        async with aclosing(self._flow(batch=batch)) as batches:
            async for raws in batches:
                if raws:
                    yield raws

    async def _flow(self, *, batch: int) -> AsyncGenerator[list[Raw], None]:
        connection = self._jetstream.connection
        while True:
            try:
                pull = Pull(connection, self._stream, self._name, batch=batch, gapless=False)
                async with aclosing(pull.batches()) as batches:
                    async for raws in batches:
                        yield raws
            except (Interrupted, StoreUnavailable) as reason:
                if connection.closed:
                    raise
                _log.info("%s reads again: %s", self._name, reason)
                await connection.until_back()
                # Connected, but without a leader for the reader: it answers at once, and not for a while.
                await asyncio.sleep(PAUSE_S)

    async def _ensure(
        self, filters: Sequence[str], ack_wait_s: float, max_unsettled: int, deliveries_at_most: int, ack_policy: str
    ) -> None:
        config: dict[str, object] = {
            "name": self._name,
            "durable_name": self._name,
            "deliver_policy": "all",
            "ack_policy": ack_policy,
            "ack_wait": int(ack_wait_s * 1e9),
            "max_ack_pending": max_unsettled,
            "max_deliver": deliveries_at_most,
            "filter_subjects": list(filters),
        }
        body: dict[str, object] = {"stream_name": self._stream, "config": config, "action": "create"}
        verb = f"CONSUMER.CREATE.{self._stream}.{self._name}"
        doing = f"reading {self._stream} as {self._name}"
        try:
            await self._jetstream.ask(verb, body, ConsumerInfo, doing=doing, wait_s=CREATION_WAIT_S)
        except Refused as refused:
            if refused.err_code != CONSUMER_EXISTS:
                raise StoreUnavailable(doing, refused.description) from refused
            await self._update(verb, body | {"action": "update"}, list(filters), doing)

    async def _update(self, verb: str, body: dict[str, object], filters: list[str], doing: str) -> None:
        """Adopt new waits on an existing reader, but never other filters: those would skip what lies behind it."""
        try:
            info = await self._jetstream.ask(
                f"CONSUMER.INFO.{self._stream}.{self._name}", None, ConsumerInfo, doing=doing
            )
            found = info.config.get("filter_subjects") or [info.config.get("filter_subject", "")]
            if sorted(found) != sorted(filters):
                raise LogMisconfigured(self._name, {"filter_subjects": (str(sorted(filters)), str(sorted(found)))})
            await self._jetstream.ask(verb, body, ConsumerInfo, doing=doing, wait_s=CREATION_WAIT_S)
        except Refused as refused:
            raise StoreUnavailable(doing, refused.description) from refused
