"""The streams of the fabric, and what is promised by their settings."""

import logging
from typing import Any

import msgspec

from eventstore import subjects
from eventstore.admission import Freshness
from eventstore.errors import LogMisconfigured, StoreUnavailable
from eventstore.oona.jetstream import CREATION_WAIT_S, JetStream, Refused, StreamInfo

EVENTS = "ESPER_EVENTS"
COMMANDS = "ESPER_COMMANDS"
DEAD_LETTERS = "ESPER_DEAD_LETTERS"
ADVISORY = "ESPER_ADVISORY"
NONCES = "ESPER_NONCES"
EMERGENCY = "ESPER_EMERGENCY"
TELEMETRY = "ESPER_TELEMETRY"
EXHAUSTED = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES"
ADVISORIES_KEPT_S = 30 * 24 * 3600
TELEMETRY_KEPT_S = 72 * 3600

BATCHES = "allow_atomic"
"""The setting with which a stream takes atomic batches; logs from before it are upgraded in place."""

_GIB = 1024**3


class StreamSizes(msgspec.Struct, frozen=True, kw_only=True):
    """How large the streams may grow before they refuse; used when they are created, an operator's to change later."""

    events_bytes: int = _GIB
    commands_bytes: int = _GIB // 16
    dead_letters_bytes: int = _GIB // 16
    advisories_bytes: int = _GIB // 64
    nonces_bytes: int = _GIB // 16
    emergency_bytes: int = _GIB // 16
    telemetry_bytes: int = _GIB // 8
    replicas: int = 1
    dedupe_window_s: float = 600.0


def settings(sizes: StreamSizes) -> list[dict[str, Any]]:
    """Return the creation settings of every stream."""
    return [
        _stream(EVENTS, subjects.EVENTS, sizes.events_bytes, sizes)
        | {"deny_delete": True, "deny_purge": True, BATCHES: True},
        _stream(COMMANDS, subjects.COMMANDS, sizes.commands_bytes, sizes),
        _stream(DEAD_LETTERS, subjects.DEAD_LETTERS, sizes.dead_letters_bytes, sizes),
        _stream(ADVISORY, EXHAUSTED, sizes.advisories_bytes, sizes)
        | {"max_age": ADVISORIES_KEPT_S * 10**9, "discard": "old"},
        # Gone once recorded, so that it is never full while somebody listens.
        _stream(EMERGENCY, subjects.EMERGENCY, sizes.emergency_bytes, sizes) | {"retention": "workqueue"},
        _stream(NONCES, subjects.NONCES, sizes.nonces_bytes, sizes)
        | {"max_age": Freshness().nonces_kept_s * 10**9, "duplicate_window": Freshness().nonces_kept_s * 10**9},
        _telemetry(sizes),
    ]


_log = logging.getLogger("eventstore.oona")
_TUNABLE = frozenset({"name", "max_bytes", "num_replicas", "duplicate_window", "persist_mode", BATCHES})


async def ensure(jetstream: JetStream, sizes: StreamSizes) -> StreamInfo:
    """Create the streams that are missing, and return what is known of the stream of record.

    Raises:
        LogMisconfigured: one exists with settings that break the promises; nothing was changed.
        StoreUnavailable: the server did not answer, or has no JetStream.
    """
    infos = {wanted["name"]: await _ensure(jetstream, wanted) for wanted in settings(sizes)}
    return infos[EVENTS]


async def _ensure(jetstream: JetStream, wanted: dict[str, Any]) -> StreamInfo:
    name = wanted["name"]
    info = await jetstream.stream_info(name)
    if info is None:
        doing = f"creating {name}"
        try:
            info = await jetstream.ask(f"STREAM.CREATE.{name}", wanted, StreamInfo, doing=doing, wait_s=CREATION_WAIT_S)
        except Refused as refused:
            info = await jetstream.stream_info(name)
            if info is None:
                raise StoreUnavailable(doing, refused.description) from refused
    differences = {
        key: (str(value), str(info.config.get(key)))
        for key, value in wanted.items()
        if key not in _TUNABLE and info.config.get(key) != value
    }
    if differences:
        raise LogMisconfigured(name, differences)
    if wanted.get(BATCHES) and not takes_batches(info):
        return await _allow_batches(jetstream, name, info)
    return info


def takes_batches(info: StreamInfo) -> bool:
    """Say whether the stream that *info* is about takes atomic batches."""
    return info.config.get(BATCHES) is True


async def _allow_batches(jetstream: JetStream, name: str, info: StreamInfo) -> StreamInfo:
    """Let an older stream take batches from now on; where that is not possible it goes on without them.

    Nothing that is stored changes, nor the stream's identity; doing it again is harmless.
    """
    doing = f"allowing batches in {name}"
    try:
        # Not long: who may not upgrade a stream is not answered.
        wish = info.config | {BATCHES: True}
        updated = await jetstream.ask(f"STREAM.UPDATE.{name}", wish, StreamInfo, doing=doing)
    except (Refused, StoreUnavailable) as reason:
        _log.warning("appends to %s will not share syncs, it could not be upgraded: %s", name, reason)
        return info
    _log.info("%s was upgraded; takes batches: %s", name, takes_batches(updated))
    return updated


def _telemetry(sizes: StreamSizes) -> dict[str, Any]:
    stream = _stream(TELEMETRY, subjects.TELEMETRY, sizes.telemetry_bytes, sizes)
    stream |= {"max_age": TELEMETRY_KEPT_S * 10**9, "discard": "old", "allow_batched": True}
    # Synced with every message it would slow down whoever waits for the disk with something that matters. Only a
    # stream on one node can be told so.
    return stream | ({"persist_mode": "async"} if sizes.replicas == 1 else {})


def _stream(name: str, root: str, max_bytes: int, sizes: StreamSizes) -> dict[str, Any]:
    return {
        "name": name,
        "subjects": [f"{root}.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_age": 0,
        "max_msgs": -1,
        "max_msgs_per_subject": -1,
        "max_bytes": max_bytes,
        "num_replicas": sizes.replicas,
        "duplicate_window": int(sizes.dedupe_window_s * 1e9),
    }
