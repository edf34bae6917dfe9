"""Which genuine commands an actor takes: each once, issued when it was queued, and not after its deadline.

Verdicts, in the order in which they are given: `undecodable`, `verifier_unavailable`, `missing_signature`,
`invalid_signature`, `wrong_target`, `unknown_type`, `missing_command_id`, `nonce_replayed`, `missing_timestamp`,
`issued_in_future`, `stale_command`, `expired`. What has none of them is taken.

Nothing here is asked of history: a log is read with its signatures alone.
"""

import hashlib
from typing import Protocol

import msgspec

from eventstore.store import CommandRecord


class Refusal(msgspec.Struct, frozen=True):
    """Why a command must not be executed: a verdict for programs, a sentence for people."""

    verdict: str
    detail: str


class Freshness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far apart a command's issuing and its arrival in the queue may be.

    The arrival counts, not the execution: a command that waited for hours behind others is as good as it was, and
    its deadline says for how long. One that was recorded on its way and queued again later is not.
    `nonces_kept_s` exceeds the other two together, so that no id is forgotten while its command is fresh.
    """

    fresh_s: float = 60.0
    skew_s: float = 5.0
    nonces_kept_s: int = 300


class Nonces(Protocol):
    """Which command ids were used, and for what."""

    async def claim(self, record: CommandRecord) -> bool:
        """Return whether *record*'s id is now that of what it asks for; False if it was another command's before.

        Raises:
            StoreUnavailable: not known; try again with the next delivery.
        """
        ...


def asks_for(record: CommandRecord) -> str:
    """Return the digest of what *record* asks for: the same for one that is sent again, whenever that is."""
    body = record.command.SerializeToString(deterministic=True)
    parts = (record.target, str(record.stream), record.command.DESCRIPTOR.full_name, hashlib.sha256(body).hexdigest())
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


async def refusal(
    record: CommandRecord, queued_at_ns: int, now_ns: int, nonces: Nonces, freshness: Freshness
) -> Refusal | None:
    """Say why the genuine *record*, queued at *queued_at_ns*, must not be executed at *now_ns*; None if it may be."""
    if not (record.command_id.isascii() and record.command_id.isalnum()):
        return Refusal("missing_command_id", f"{record.command_id!r} is no command id")
    if not await nonces.claim(record):
        return Refusal("nonce_replayed", f"{record.command_id} was the id of another command")
    return untimely(record, queued_at_ns, freshness) or too_late(record, now_ns)


def untimely(record: CommandRecord, queued_at_ns: int, freshness: Freshness) -> Refusal | None:
    """Say why *record* cannot honestly have come into the queue at *queued_at_ns*; None if it can."""
    if record.issued_at_ns == 0:
        return Refusal("missing_timestamp", "it does not say when it was issued")
    age_ns = queued_at_ns - record.issued_at_ns
    if age_ns < -round(freshness.skew_s * 1e9):
        return Refusal("issued_in_future", f"issued {-age_ns / 1e9:.3f} s after it was queued")
    if age_ns > round(freshness.fresh_s * 1e9):
        return Refusal("stale_command", f"issued {age_ns / 1e9:.3f} s before it was queued")
    return None


def too_late(record: CommandRecord, now_ns: int) -> Refusal | None:
    """Say that *record*'s deadline has passed at *now_ns*; None if it has not, or if it has none."""
    if record.deadline_ns and now_ns > record.deadline_ns:
        return Refusal("expired", f"expired: its deadline passed {(now_ns - record.deadline_ns) / 1e9:.3f} s ago")
    return None
