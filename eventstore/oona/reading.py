"""Reading the log without acks, from a position of the reader's own, across lost connections."""

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from uuid import uuid4

from eventstore.errors import LogCorrupt, LogReplaced, StoreUnavailable
from eventstore.oona.connection import Connection
from eventstore.oona.jetstream import ConsumerInfo, JetStream, Refused
from eventstore.oona.pull import Interrupted, Pull, Raw

BATCH = 500
FORGOTTEN_AFTER_S = 30.0
TRIES_WITHOUT_PROGRESS = 3

_log = logging.getLogger("eventstore.oona")


class LogReader:
    """Reads one stream's messages in order, each once, whatever happens to consumers and connections meanwhile."""

    def __init__(self, jetstream: JetStream, stream: str) -> None:
        self._jetstream = jetstream
        self._stream = stream

    async def until(self, *, after: int, until: int, subject: str = "") -> AsyncGenerator[list[Raw], None]:
        """Yield the messages in (after, until], only those on *subject* if one is given; one must be stored at *until*.

        Raises:
            StoreUnavailable: the log stopped answering before the end.
            LogCorrupt: a position is missing.
        """
        position, tries = after, 0
        while position < until:
            tries += 1
            try:
                async with aclosing(self._flow(position, (subject,) if subject else ())) as flow:
                    async for batch in flow:
                        if not batch:
                            await self._require_stored(until)
                            continue
                        tries = 0
                        position = batch[-1].position
                        wanted = batch if position <= until else [raw for raw in batch if raw.position <= until]
                        if wanted:
                            yield wanted
                        if position >= until:
                            return
            except Interrupted as interrupted:
                if tries >= TRIES_WITHOUT_PROGRESS or not self._connection.connected:
                    raise StoreUnavailable(f"reading {self._stream}", str(interrupted)) from interrupted

    async def forever(self, *, after: int, subjects: Sequence[str] = ()) -> AsyncGenerator[list[Raw], None]:
        """Yield every message after position *after*, those to come too, without end; only on *subjects*, if given.

        Raises:
            LogReplaced: after a lost connection, another log was found.
            LogCorrupt: a position is missing.
        """
        born = await self._born()
        position = after
        while True:
            try:
                async with aclosing(self._flow(position, subjects)) as flow:
                    async for batch in flow:
                        if batch:
                            position = batch[-1].position
                            yield batch
            except (Interrupted, StoreUnavailable) as reason:
                if self._connection.closed:
                    raise
                _log.info("reading again after position %d: %s", position, reason)
                await self._connection.until_back()
                await self._require_same_log(born, position)

    @property
    def _connection(self) -> Connection:
        return self._jetstream.connection

    async def _born(self) -> str:
        info = await self._jetstream.stream_info(self._stream)
        return str(info.created) if info else "never"

    async def _require_same_log(self, born: str, position: int) -> None:
        try:
            info = await self._jetstream.stream_info(self._stream)
        except StoreUnavailable:
            return
        created, last = (str(info.created), info.state.last_seq) if info else ("never", 0)
        if created != born or last < position:
            raise LogReplaced(f"created {born} with {position} positions", f"created {created} with {last}")

    async def _require_stored(self, position: int) -> None:
        """Tell a slow flow from one that cannot deliver *position* because the server has lost it."""
        if await self._jetstream.message(self._stream, position) is None:
            raise LogCorrupt(position, "position", str(position), "nothing: the server cannot read it")

    async def _flow(self, after: int, subjects: Sequence[str]) -> AsyncGenerator[list[Raw], None]:
        consumer = f"reader-{uuid4().hex}"
        await self._create(consumer, after, subjects)
        pull = Pull(self._connection, self._stream, consumer, batch=BATCH, gapless=True)
        try:
            async with aclosing(pull.batches()) as batches:
                async for batch in batches:
                    sound = batch if subjects else _contiguous(batch, after)
                    after = sound[-1].position if sound else after
                    if sound or not batch:
                        yield sound
                    if len(sound) < len(batch):
                        found = f"the next one stored is {batch[len(sound)].position}"
                        raise LogCorrupt(after + 1, "position", str(after + 1), found)
        finally:
            await self._delete(consumer)

    async def _create(self, consumer: str, after: int, subjects: Sequence[str]) -> None:
        config: dict[str, object] = {
            "name": consumer,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": after + 1,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": int(FORGOTTEN_AFTER_S * 1e9),
        }
        verb = f"CONSUMER.CREATE.{self._stream}.{consumer}"
        if len(subjects) == 1:
            config["filter_subject"] = subjects[0]
            verb += f".{subjects[0]}"
        elif subjects:
            config["filter_subjects"] = list(subjects)
        body = {"stream_name": self._stream, "config": config, "action": "create"}
        doing = f"reading {self._stream}"
        try:
            await self._jetstream.ask(verb, body, ConsumerInfo, doing=doing)
        except Refused as refused:
            raise StoreUnavailable(doing, refused.description) from refused

    async def _delete(self, consumer: str) -> None:
        """Spare the server the wait until it forgets the consumer by itself."""
        if self._connection.connected:
            verb = f"$JS.API.CONSUMER.DELETE.{self._stream}.{consumer}"
            await self._connection.publish(verb, b"", doing=f"ending a reading of {self._stream}")


def _contiguous(batch: list[Raw], after: int) -> list[Raw]:
    """Return the beginning of *batch* that follows on position *after* without a hole."""
    if [raw.position for raw in batch] == list(range(after + 1, after + 1 + len(batch))):
        return batch
    whole = sum(raw.position == after + 1 + index for index, raw in enumerate(batch))
    return batch[:whole]
