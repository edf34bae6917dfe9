"""Command ids that were used, remembered by the server: across restarts, and for all instances of an actor."""

from eventstore import subjects
from eventstore.admission import asks_for
from eventstore.errors import StoreUnavailable
from eventstore.oona.jetstream import WRONG_LAST_SEQUENCE, JetStream, Refused
from eventstore.oona.streams import NONCES
from eventstore.store import CommandRecord


class OonaNonces:
    """One message per id, created only where there is none; the server forgets it after the stream's age limit."""

    def __init__(self, jetstream: JetStream) -> None:
        self._jetstream = jetstream

    async def claim(self, record: CommandRecord) -> bool:
        """Return whether *record*'s id is now that of what it asks for; False if it was another command's before."""
        subject = subjects.of_nonce(record.target, record.command_id)
        asked, doing = asks_for(record).encode(), f"claiming {record.command_id}"
        try:
            await self._jetstream.publish(subject, asked, {"Nats-Expected-Last-Subject-Sequence": "0"}, doing=doing)
        except Refused as refused:
            if refused.err_code != WRONG_LAST_SEQUENCE:
                raise StoreUnavailable(doing, refused.description) from refused
            return await self._claimed_before(subject, asked, doing)
        return True

    async def _claimed_before(self, subject: str, asked: bytes, doing: str) -> bool:
        from_before = await self._jetstream.last_message(NONCES, subject)
        if from_before is None:
            raise StoreUnavailable(doing, "its nonce ran out at that moment")
        return from_before.data == asked
