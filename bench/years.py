"""A long history, told in real Leyline events, signed and chained, and written as fast as a server takes it."""

from collections.abc import AsyncGenerator, Sequence

from google.protobuf.message import Message
from nats.aio.client import Client

from bench.filling import KEYS
from bench.peers import counted_acks
from esper.leyline.registry import EVENTS as TYPES
from esper.leyline.v1.enums_pb2 import DecisionAction, SeedLifecycleStage
from esper.leyline.v1.run_pb2 import RunFacts, RunFinished, RunStarted, RunSummary
from esper.leyline.v1.seed_pb2 import SlotRegistered
from esper.leyline.v1.site_pb2 import Site
from eventstore.commit import START, CommitCodec, Link, commit_id, link_after
from eventstore.memory import MemoryStore
from eventstore.oona.streams import EVENTS
from eventstore.store import Appended, Context, StreamName
from eventstore.subjects import of_stream
from tests.projection.history import Telling, at, epoch_ended, tell_culled_seed, tell_kept_seed, tell_library

EPOCHS = 200
WINDOW = 1000
APPENDED_MEANWHILE = 1
"""Commits that the caller of `grow` appends while the log has one of the sizes."""


class Tape(MemoryStore):
    """A store that only appends: what it seals waits in `messages` until it is written to a server."""

    def __init__(self) -> None:
        super().__init__(TYPES, KEYS)
        self._sealer = CommitCodec(KEYS, TYPES)
        self._ends: dict[StreamName, tuple[Link, int]] = {}
        self.written = 0
        self.messages: list[tuple[str, bytes]] = []
        self.headers: list[dict[str, str]] = []

    async def append(
        self, stream: StreamName, events: Sequence[Message], *, expected: int, context: Context
    ) -> Appended:
        """Seal *events* as the next commit of *stream*, with the headers that a store on a server gives it."""
        link, position = self._ends.get(stream, (START, 0))
        assert link.version == expected
        data = self._sealer.seal(stream, list(events), context, link)
        self.written += 1
        recorded = self._sealer.reopen(data, self.written, stream)
        self._ends[stream] = link_after(data, recorded), self.written
        self.messages.append((of_stream(stream), data))
        self.headers.append(
            {
                "Nats-Msg-Id": commit_id(stream, context.command_id),
                "Nats-Expected-Stream": EVENTS,
                "Nats-Expected-Last-Subject-Sequence": str(position),
                "Esper-Types": ",".join(sorted({event.event_type for event in recorded})),
            }
        )
        return Appended(recorded, duplicate=False)

    def forget(self, run_id: str) -> None:
        """Let go of the ends of a run's streams: nothing follows there."""
        self._ends = {stream: end for stream, end in self._ends.items() if run_id not in stream.aggregate_id}


async def tell_training(tape: Tape, number: int) -> None:
    """Tell a run of 200 epochs with a decision in each, of which one seed is kept and one is culled."""
    run_id = f"{number:032x}"[::-1]
    telling = Telling(tape, run_id)
    sites = [Site(seed_id="s0", label="conv1 -> head"), Site(seed_id="s1", label="features.3")]
    facts = RunFacts(model_class="net.Net", host_parameters=936, sites=sites, seed=number, data="digits")
    started = await telling.run(RunStarted(facts=facts))
    for site in sites:
        await telling.seed(site.seed_id, SlotRegistered(site=site), cause=started)
    stages = {"s0": SeedLifecycleStage.SEED_STAGE_DORMANT, "s1": SeedLifecycleStage.SEED_STAGE_TRAINING}
    observation = await telling.run(epoch_ended(1, 0.5, stages))
    await tell_library(telling)
    await tell_kept_seed(telling, observation)
    await tell_culled_seed(telling)
    for epoch in range(2, EPOCHS + 1):
        observation = await telling.run(epoch_ended(epoch, 0.5 + epoch / 500, stages))
        await telling.decide(epoch, DecisionAction.DECISION_ACTION_WAIT, "s0", observation)
    summary = RunSummary(at=at(EPOCHS), score=0.9, parameters_after=1000, germinated=3, culled=1)
    await telling.run(RunFinished(summary=summary))
    tape.forget(run_id)


async def grow(client: Client, sizes: Sequence[int]) -> AsyncGenerator[int, None]:
    """Write runs until the log holds at least each of *sizes* commits, and yield how many it holds then.

    The caller appends one commit of its own each time.
    """
    tape, runs = Tape(), 0
    for size in sizes:
        while tape.written < size:
            runs += 1
            await tell_training(tape, runs)
            await counted_acks(client, tape.messages, window=WINDOW, headers=tape.headers.__getitem__)
            tape.messages, tape.headers = [], []
        yield tape.written
        tape.written += APPENDED_MEANWHILE
