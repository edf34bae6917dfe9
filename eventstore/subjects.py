"""Which JetStream subject carries what."""

import re
from functools import lru_cache

from eventstore.store import StreamName

EVENTS = "esper.evt"
COMMANDS = "esper.cmd"
DEAD_LETTERS = "esper.dead"
NONCES = "esper.nonce"
EMERGENCY = "esper.emg"
TELEMETRY = "esper.tel"

_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


def token(text: str) -> str:
    """Return *text* if it may stand between two dots of a subject.

    Raises:
        ValueError: it is empty or holds anything but letters, digits, '-' and '_'.
    """
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{text!r} must be letters, digits, '-' and '_' only")
    return text


def of_stream(stream: StreamName) -> str:
    """Return the one subject to which *stream*'s commits are published."""
    return f"{EVENTS}.{token(stream.aggregate)}.{token(stream.aggregate_id)}"


@lru_cache(maxsize=4096)
def stream_of(subject: str) -> StreamName | None:
    """Return the stream whose commits travel on *subject*, or None if it is not an event subject."""
    match subject.split("."):
        case ["esper", "evt", aggregate, aggregate_id]:
            return StreamName(aggregate, aggregate_id)
        case _:
            return None


def of_aggregate(aggregate: str) -> str:
    """Return the filter that matches every stream of *aggregate*."""
    return f"{EVENTS}.{token(aggregate)}.>"


def of_target(target: str) -> str:
    """Return the subject of commands for *target*."""
    return f"{COMMANDS}.{token(target)}.normal"


def of_nonce(target: str, command_id: str) -> str:
    """Return the subject that is taken once *target* was given the command called *command_id*."""
    return f"{NONCES}.{token(target)}.{token(command_id)}"


def of_emergency(target: str) -> str:
    """Return the subject of emergencies for *target*."""
    return f"{EMERGENCY}.{token(target)}"


def of_telemetry(subsystem: str, about: str) -> str:
    """Return the subject of what *subsystem* measures *about* something: a run, an actor."""
    return f"{TELEMETRY}.{token(subsystem)}.{token(about)}"
