"""A run's history judged again: every commit verified, every verdict and edge re-derived from what is recorded."""

import msgspec
from google.protobuf.message import Message

from actors.edges import illegal_edge
from esper.kasmina.rules.gates import verdict_again
from esper.kasmina.rules.rebasing import slot_state
from esper.kasmina.rules.seed import CULLABLE, SEED, Seed, SeedEvent
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.kernel_pb2 import KernelRegistered
from esper.leyline.v1.run_pb2 import Checkpoint, CheckpointCommitted, CheckpointSeed, RunRolledBack
from esper.leyline.v1.seed_pb2 import GateEvaluated, KernelAttached, SeedRebased
from eventstore.errors import LogCorrupt, UnknownEventType
from eventstore.store import EventStore, LogIdentity, Recorded

MAPPED = CULLABLE | {Stage.SEED_STAGE_FOSSILIZED}


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """The first place where the log does not hold what it should."""

    position: int
    index: int = 0
    stream: str
    kind: str
    expected: str
    found: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What was judged and found right; `last_position` is the log's head at the time."""

    run_id: str
    last_position: int
    commits: int = 0
    events: int = 0
    gates: int = 0
    edges: int = 0
    kernels: int = 0
    checkpoints: int = 0
    rollbacks: int = 0


class Witness(msgspec.Struct, frozen=True):
    """Somebody beside the log who knows how far it once reached, and which log it was."""

    name: str
    created_ns: int
    last_position: int


class Loss(msgspec.Struct, frozen=True):
    """What the log's server says it could not read back from its disk: which positions, if it knows, and how much."""

    positions: tuple[int, ...]
    size_bytes: int


async def verify_run(
    store: EventStore, run_id: str, witness: Witness | None = None, loss: Loss | None = None
) -> Verified | Divergence:
    """Read the whole log and judge run *run_id* again, up to the first divergence.

    The store itself verifies signatures, hash chains, versions and types of every commit, whichever run it is of.
    Here follow what only the rules know: gate verdicts, edges, kernels, causes, and the checkpoints' seed maps.

    Raises:
        StoreUnavailable: the log did not answer; nothing is known.
    """
    judge = Judge(run_id)
    try:
        head = await store.identity()
        async for recorded in store.read_all(until=head.last_position):
            if found := judge.next(recorded):
                return found
    except (LogCorrupt, UnknownEventType) as damage:
        return divergence_of(damage)
    return judge.shortened(head, witness, loss) or judge.verified()


def divergence_of(damage: LogCorrupt | UnknownEventType) -> Divergence:
    """Return what the store itself refused to read, as a divergence."""
    match damage:
        case LogCorrupt():
            return _at(damage.position, damage.kind, damage.expected, damage.found)
        case UnknownEventType():
            found = f"{damage.event_type} v{damage.schema_version}"
            return _at(damage.position, "type", "an event type known to this program", found)


class Judge:
    """Takes the log's events in order and tells the first that cannot be; knows nothing but what it was given."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._position = 0
        self._commit: tuple[Recorded, ...] = ()
        self._event_ids: set[str] = set()
        self._kernels: set[tuple[str, str]] = set()
        self._seeds: dict[str, list[Seed]] = {}
        self._checkpoints: dict[str, Checkpoint] = {}
        self._rollbacks: dict[int, RunRolledBack] = {}
        self._counts = Verified(run_id=run_id, last_position=0)

    def next(self, recorded: Recorded) -> Divergence | None:
        """Return why *recorded* cannot stand where it does, or None."""
        if recorded.position > self._position + 1:
            return _at(self._position + 1, "missing", "a commit at every position", f"next is {recorded.position}")
        same = bool(self._commit) and self._commit[0].commit_id == recorded.commit_id
        earlier = self._commit if same else ()
        self._commit, self._position = (*earlier, recorded), recorded.position
        self._count(commits=0 if same else 1, events=1)
        found = self._judged(recorded, tuple(one.event for one in earlier))
        self._event_ids.add(recorded.event_id)
        return found

    def shortened(self, head: LogIdentity, witness: Witness | None, loss: Loss | None) -> Divergence | None:
        """Return what is missing behind the last event seen, by what the log, its server and the witness say."""
        missing = self._position + 1
        if self._position < head.last_position:
            return _at(missing, "missing", f"the log reaches {head.last_position}", f"nothing after {self._position}")
        if loss is not None and loss.positions:
            told = f"positions {min(loss.positions)} to {max(loss.positions)} cannot be read from the disk"
            return _at(min(loss.positions), "lost", "every position served", told)
        if witness is not None and witness.created_ns != head.created_ns:
            told = f"the log that {witness.name} knows, created at {witness.created_ns} ns"
            return _at(1, "replaced", told, f"one created at {head.created_ns} ns")
        if witness is not None and head.last_position < witness.last_position:
            told = f"{witness.name} has seen position {witness.last_position}"
            return _at(missing, "missing", told, f"the log ends at {head.last_position}")
        if loss is not None and witness is None:
            # With a witness this is a torn write that was never acknowledged; without one nobody can tell.
            told = f"{loss.size_bytes} bytes that the server dropped as damaged when it started"
            return _at(missing, "lost", "the end of the log, or somebody who saw it", told)
        return None

    def verified(self) -> Verified:
        """Return what was judged so far."""
        return msgspec.structs.replace(self._counts, last_position=self._position)

    def _judged(self, recorded: Recorded, earlier: tuple[Message, ...]) -> Divergence | None:
        stream, event = recorded.stream, recorded.event
        if isinstance(event, KernelRegistered):
            self._kernels.add((stream.aggregate_id, event.kernel_id))
        if stream.aggregate == "seed" and stream.aggregate_id.startswith(f"{self._run_id}-"):
            found = self._seed_judged(recorded, earlier)
        elif stream == ("run", self._run_id) and isinstance(event, CheckpointCommitted):
            found = self._map_judged(recorded, event.checkpoint)
        elif stream == ("run", self._run_id) and isinstance(event, RunRolledBack):
            found = self._rollback_judged(recorded, event)
        else:
            found = None
        mine = self._run_id in (recorded.context.run_id, stream.aggregate_id)
        return found or (self._cause_judged(recorded) if mine else None)

    def _cause_judged(self, recorded: Recorded) -> Divergence | None:
        cause = recorded.context.causation_id
        if not cause or cause in self._event_ids:
            return None
        return _here(recorded, "cause", "a cause recorded earlier", f"event {cause}, which is not")

    def _seed_judged(self, recorded: Recorded, earlier: tuple[Message, ...]) -> Divergence | None:
        history = self._seeds.setdefault(recorded.stream.aggregate_id.removeprefix(f"{self._run_id}-"), [SEED.initial])
        seed, event = history[-1], recorded.event
        if not isinstance(event, SeedEvent):
            return _here(recorded, "edge", "an event of a seed's life", recorded.event_type)
        if isinstance(event, GateEvaluated) and (found := self._verdict_judged(recorded, event)):
            return found
        if wrong := illegal_edge(seed, event, earlier):
            return _here(recorded, "edge", wrong.expected, wrong.found)
        if isinstance(event, SeedRebased) and (found := self._rebase_judged(recorded, event, history)):
            return found
        if isinstance(event, KernelAttached):
            if (seed.kernel_key, event.kernel_id) not in self._kernels:
                return _here(recorded, "kernel", "a kernel that Urza registered for this key", event.kernel_id)
            self._count(kernels=1)
        moved = SEED.evolve(seed, event)
        self._count(edges=int(moved.stage != seed.stage))
        history.append(moved)
        return None

    def _verdict_judged(self, recorded: Recorded, verdict: GateEvaluated) -> Divergence | None:
        again = verdict_again(verdict)
        self._count(gates=1)
        derived, stated = _verdict_facts(again), _verdict_facts(verdict)
        return None if derived == stated else _here(recorded, "gate verdict", derived, stated)

    def _rollback_judged(self, recorded: Recorded, event: RunRolledBack) -> Divergence | None:
        self._rollbacks[event.timeline] = event
        self._count(rollbacks=1)
        target = self._checkpoints.get(event.checkpoint_id)
        if target is None or not target.blessed:
            return _here(recorded, "rollback", "a blessed checkpoint of this run", event.checkpoint_id)
        if (event.to, event.timeline) != (target.at, len(self._rollbacks)):
            expected = f"step {target.at.step}, timeline {len(self._rollbacks)}"
            return _here(recorded, "rollback", expected, f"step {event.to.step}, timeline {event.timeline}")
        return None

    def _rebase_judged(self, recorded: Recorded, event: SeedRebased, history: list[Seed]) -> Divergence | None:
        """What a rollback writes into a slot is what the slot was at the checkpoint, later by what has passed since."""
        rollback = self._rollbacks.get(event.timeline)
        if rollback is None or rollback.checkpoint_id != event.checkpoint_id or event.to_version >= len(history):
            return _here(recorded, "rebase", "a rollback of this run", f"timeline {event.timeline}")
        steps, epochs = event.at.step - rollback.to.step, event.at.epoch - rollback.to.epoch
        then = slot_state(history[event.to_version], steps, epochs)
        return None if then == event.state else _here(recorded, "rebase", str(then), str(event.state))

    def _map_judged(self, recorded: Recorded, checkpoint: Checkpoint) -> Divergence | None:
        self._count(checkpoints=1)
        self._checkpoints[checkpoint.checkpoint_id] = checkpoint
        for row in checkpoint.seeds:
            history = self._seeds.get(row.seed_id, [SEED.initial])
            if row.version >= len(history):
                latest = f"version {len(history) - 1} of {row.seed_id} or earlier"
                return _here(recorded, "checkpoint map", latest, f"version {row.version}")
            for name, folded, mapped in _row_facts(history[row.version], row):
                if folded != mapped:
                    return _here(recorded, "checkpoint map", f"{row.seed_id} {name} {folded}", f"{name} {mapped}")
        mapped = {row.seed_id for row in checkpoint.seeds}
        for seed_id, history in self._seeds.items():
            seed = history[-1]
            if seed_id not in mapped and seed.stage in MAPPED and seed.since_step < checkpoint.at.step:
                return _here(recorded, "checkpoint map", f"a row for {seed_id}", "none")
        return None

    def _count(self, **by: int) -> None:
        totals = {name: getattr(self._counts, name) + number for name, number in by.items()}
        self._counts = msgspec.structs.replace(self._counts, **totals)


def _row_facts(seed: Seed, row: CheckpointSeed) -> list[tuple[str, object, object]]:
    """Return name, folded and mapped value of everything that a checkpoint's row repeats of its seed."""
    return [
        ("stage", Stage.Name(seed.stage), Stage.Name(row.stage)),
        ("generation", seed.generation, row.generation),
        ("blueprint", seed.blueprint_id, row.blueprint_id),
        ("parameters", seed.parameters, dict(row.parameters)),
        ("kernel", seed.kernel_id, row.kernel_id),
    ]


def _verdict_facts(verdict: GateEvaluated) -> str:
    return f"passed={verdict.passed}, ok {sorted(verdict.checks_passed)}, failed {sorted(verdict.checks_failed)}"


def _here(recorded: Recorded, kind: str, expected: str, found: str) -> Divergence:
    return Divergence(
        position=recorded.position,
        index=recorded.index,
        stream=str(recorded.stream),
        kind=kind,
        expected=expected,
        found=found,
    )


def _at(position: int, kind: str, expected: str, found: str) -> Divergence:
    return Divergence(position=position, stream="", kind=kind, expected=expected, found=found)
