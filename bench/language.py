"""What one message costs: its size, and the time to write, sign, read and verify it. Run: python -m bench.language

Messages are those of the recorded histories, that is of real runs. Times are percentiles over single calls.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle, islice

import msgspec
from google.protobuf.message import Message

from bench.measuring import machine
from esper.leyline.canonical import canonical_bytes
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.kernel_pb2 import KernelRequested, RequestKernel
from esper.leyline.v1.run_pb2 import EpochEnded
from eventstore.commands import CommandCodec
from eventstore.commit import CommitCodec, Link, previous_of
from eventstore.store import CommandRecord, Stored, StreamName
from tests.architecture.recorded_histories import KEYS, histories, read

COMMITS, ORDERS = CommitCodec(KEYS, EVENTS), CommandCodec(KEYS, COMMANDS)


class Cost(msgspec.Struct, frozen=True):
    """The percentiles of one call, in microseconds, and what the 99th is allowed to be."""

    what: str
    allowed_us: float
    p50_us: float
    p99_us: float


def cost(what: str, allowed_us: float, work: Sequence[Callable[[], object]], calls: int) -> Cost:
    """Time *calls* single calls of *work*, one after the other and round again."""
    taken: list[int] = []
    for call in islice(cycle(work), calls):
        start = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - start)
    cuts = statistics.quantiles(taken, n=100)
    return Cost(what, allowed_us, cuts[49] / 1000, cuts[98] / 1000)


def costs(stored: Sequence[Stored], calls: int) -> Iterable[Cost]:
    """Yield what is done to every message on its way into the log and out of it."""
    epochs = [one.event for commit in stored for one in commit.events if isinstance(one.event, EpochEnded)]
    specs = (one.event.spec for commit in stored for one in commit.events if isinstance(one.event, KernelRequested))
    order = CommandRecord(
        command_id="1" * 32,
        target="urza",
        command=RequestKernel(spec=next(specs), request_id="1" * 32, run_id="2" * 32, seed_id="s0"),
        stream=StreamName("kernel", "3" * 64),
        issued_at_ns=time.time_ns(),
        issued_by="kasmina",
    )
    sealed = ORDERS.seal(order)
    key, signature = KEYS.current_id, KEYS.sign(sealed)
    yield cost("EpochEnded, to canonical bytes", 80, [lambda e=e: canonical_bytes(e) for e in epochs], calls)
    yield cost("a commit, written and signed", 80, [_sealing(one) for one in stored], calls)
    yield cost("a commit, read and verified", 100, [_unsealing(one) for one in stored], calls)
    yield cost(f"a command of {len(sealed)} B, written and signed", 40, [lambda: ORDERS.seal(order)], calls)
    yield cost(f"a command of {len(sealed)} B, read and verified", 40, [lambda: ORDERS.unseal(sealed, "urza")], calls)
    yield cost(f"HMAC of {len(sealed)} B, checked", 20, [lambda: KEYS.verify(sealed, key, signature)], calls)


def _sealing(stored: Stored) -> Callable[[], object]:
    events = [recorded.event for recorded in stored.events]
    after = Link(stored.events[0].version - 1, previous_of(stored.data))
    return lambda: COMMITS.seal(stored.stream, events, stored.events[0].context, after)


def _unsealing(stored: Stored) -> Callable[[], object]:
    after = Link(stored.events[0].version - 1, previous_of(stored.data))
    return lambda: COMMITS.unseal(stored.data, stored.position, stored.stream, after)


def sizes(stored: Sequence[Stored]) -> dict[str, tuple[int, int, int]]:
    """Return how often each kind occurs, and its median and largest size in bytes."""
    found = defaultdict[str, list[int]](list)
    for commit in stored:
        found["(commit, as stored)"].append(len(commit.data))
        for recorded in commit.events:
            found[recorded.event.DESCRIPTOR.name].append(_size(recorded.event))
    return {kind: (len(all_), round(statistics.median(all_)), max(all_)) for kind, all_ in sorted(found.items())}


def _size(message: Message) -> int:
    return message.ByteSize()


def main() -> int:
    """Print sizes and costs; exit code 1 if a cost is above what it may be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    options = parser.parse_args()
    stored = [commit for history in histories() for commit in read(history)[1]]
    lines = [f"{name}: {what}" for name, what in machine().items()]
    lines += ["", "| what | p50 us | p99 us | allowed us | holds |", "|---|---:|---:|---:|---|"]
    found = list(costs(stored, options.calls))
    for one in found:
        holds = "yes" if one.p99_us <= one.allowed_us else "no"
        lines.append(f"| {one.what} | {one.p50_us:.1f} | {one.p99_us:.1f} | {one.allowed_us:g} | {holds} |")
    lines += ["", "| message | seen | median B | largest B |", "|---|---:|---:|---:|"]
    lines += [f"| {kind} | {n} | {median} | {largest} |" for kind, (n, median, largest) in sizes(stored).items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return int(any(one.p99_us > one.allowed_us for one in found))


if __name__ == "__main__":
    raise SystemExit(main())
