"""A run's rollbacks: decided once, shown at their fence, and shown again by a process that resumes the run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from google.protobuf.message import Message

from actors.changes import Instant
from actors.handover import Rules
from actors.reporting import Reporting
from actors.streams import policy_stream, run_stream, seed_stream
from actors.voice import Voice
from esper.kasmina.rules.rebasing import slot_state
from esper.kasmina.rules.seed import SEED, Seed
from esper.leyline.v1.enums_pb2 import CullInitiator, RollbackMode
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.policy_pb2 import RebaseMemory
from esper.leyline.v1.run_pb2 import (
    Checkpoint,
    CheckpointCommitted,
    CheckpointExpired,
    CheckpointSeed,
    CompleteRollback,
    DeferChange,
    EpochFacts,
    HaltAcknowledged,
    RollBackRun,
    RunRolledBack,
)
from esper.leyline.v1.seed_pb2 import CullSeed, RebaseSeed
from esper.leyline.v1.site_pb2 import Moment
from esper.tamiyo.rules.memory import memory_of
from esper.tolaria.rules.lineage import Lineage, lineage
from esper.tolaria.rules.run import RUN
from eventstore.replay import fold
from eventstore.store import Recorded


class Rollback(msgspec.Struct, frozen=True):
    """A rollback on record that is to be made true in the model at *effective*."""

    event: RunRolledBack
    recorded: Recorded
    effective: Instant

    @property
    def position(self) -> int:
        """Where it stands in the log."""
        return self.recorded.position

    @property
    def stabilises(self) -> bool:
        """Whether it leaves the growing seeds behind."""
        return self.event.mode == RollbackMode.ROLLBACK_MODE_STABILISE


class Told(NamedTuple):
    """The events of one slot that a rollback caused."""

    seed_id: str
    events: tuple[Recorded, ...]


class Timeline:
    """Which of the run's rollbacks the model shows. Coroutines run on the background loop; none touches a tensor.

    Every rollback is asked for, and carried out among the seeds, under ids of the timeline that it ends: a process that
    comes to it again finds what was answered.
    """

    def __init__(self, voice: Voice, reporting: Reporting, rules: Rules) -> None:
        self._voice, self._reporting, self._rules = voice, reporting, rules
        self._waiting: list[Rollback] = []
        self._doubtful = False
        self._pardoned: frozenset[int] = frozenset()
        # Of checkpoints only: epochs that went through the outbox are not noted here.
        self.lineage = Lineage()

    @property
    def number(self) -> int:
        """How many rollbacks the model shows."""
        return self._voice.timeline

    @property
    def waits(self) -> bool:
        """Whether the log holds a rollback that the model does not show."""
        return bool(self._waiting)

    @property
    def pardoned(self) -> bool:
        """Whether somebody has acknowledged that the run was halted in this timeline: it is not halted there again."""
        return self.number in self._pardoned

    def speak_in(self, number: int) -> None:
        """Give commands the ids of timeline *number*, until `begin`."""
        self._voice.timeline = number

    def due(self, now: Instant) -> Rollback | None:
        """Return the next rollback if it takes effect at *now* exactly."""
        return next((each for each in self._waiting[:1] if each.effective == now), None)

    def overdue(self, now: Instant) -> Rollback | None:
        """Return the next rollback if its fence has passed."""
        return next((each for each in self._waiting[:1] if each.effective < now), None)

    def note(self, checkpoint: Checkpoint) -> None:
        """Note that *checkpoint* was committed."""
        self.lineage = self.lineage.after(CheckpointCommitted(checkpoint=checkpoint))

    def begin(self, events: Sequence[Recorded], checkpoint: Checkpoint, deferred: dict[str, Instant]) -> None:
        """Go on from *checkpoint*, with the run's *events*: the rollbacks after it are to be shown again."""
        self.lineage = lineage_at(checkpoint, events)
        self.heed_expiries(events)
        self._voice.timeline = checkpoint.timeline
        self._pardoned = frozenset(one.event.timeline for one in events if isinstance(one.event, HaltAcknowledged))
        self._take_in(events, deferred)

    def heed_expiries(self, events: Sequence[Recorded]) -> None:
        """Note which checkpoints have expired: whenever that was, they cannot be gone back to any more."""
        for recorded in events:
            if isinstance(recorded.event, CheckpointExpired):
                self.lineage = self.lineage.after(recorded.event)

    def _take_in(self, events: Sequence[Recorded], deferred: dict[str, Instant]) -> None:
        known = max([self.number, *(each.event.timeline for each in self._waiting)])
        for recorded in events:
            event = recorded.event
            if isinstance(event, RunRolledBack) and event.timeline > known:
                effective = deferred.get(recorded.context.command_id, Instant.of(event.at))
                self._waiting.append(Rollback(event, recorded, effective))

    async def decide(self, command: RollBackRun) -> Rollback:
        """Record that the run goes back; what it comes to waits until it is shown.

        Raises:
            RuleBroken: the run's rules refuse it.
            StoreUnavailable: not known whether it was recorded, until `look_again`.
        """
        stream = run_stream(self._voice.run_id)
        events = await self._voice.log.store.read_stream(stream)
        committed = next(recorded.position for recorded in events if _is_of(recorded, command.checkpoint_id))
        held = lineage(_event(recorded) for recorded in events).epochs_until(command.checkpoint_id)
        if held:
            command.last_epoch.CopyFrom(held[-1])
        command.abandoned_from = committed + 1
        command.abandoned_until = (await self._voice.log.store.identity()).last_position
        known, self._doubtful = self._doubtful, True
        appended = await self._voice.tell(RUN, stream, command, f"rollback/{command.timeline}")
        self._doubtful = known and appended is None
        self._take_in(appended.events if appended else (), {})
        return self._waiting[0]

    async def epochs_held(self, rollback: Rollback) -> tuple[EpochFacts, ...]:
        """Return the epochs that the checkpoint of *rollback* holds."""
        events = await self._voice.log.store.read_stream(run_stream(self._voice.run_id))
        before = (_event(recorded) for recorded in events if recorded.position < rollback.position)
        return lineage(before).epochs_until(rollback.event.checkpoint_id)

    async def look_again(self) -> None:
        """Learn of a rollback whose outcome was unknown. One that is not on record may be asked for again."""
        if self._doubtful:
            self._take_in(await self._voice.log.store.read_stream(run_stream(self._voice.run_id)), {})

    async def defer(self, rollback: Rollback, at: Moment, reason: str) -> Rollback:
        """Record that *rollback* is shown at *at*, later than it was decided for."""
        command_id = rollback.recorded.context.command_id
        deferral = DeferChange(command_id=command_id, reason=reason, decided_for=rollback.event.at, at=at)
        await self._tell_run(deferral, f"defer/{command_id}/{at.step}/{at.epoch}")
        later = msgspec.structs.replace(rollback, effective=Instant.of(at))
        self._waiting[0] = later
        return later

    async def carry_out(self, rollback: Rollback, checkpoint: Checkpoint, at: Moment) -> list[Told]:
        """Let the slots, Tamiyo and her reports hear of *rollback*; return what the slots' streams gained.

        Raises:
            StoreUnavailable: carry it out again; nothing is told twice.
        """
        told = [await self._told(rollback, row, at) for row in checkpoint.seeds]
        if not rollback.stabilises and self._rules.policy is not None:
            await self._rebase_memory(rollback, at)
        await self._reporting.react(rollback.recorded)
        return [one for one in told if one.events]

    async def _told(self, rollback: Rollback, row: CheckpointSeed, at: Moment) -> Told:
        stream = seed_stream(self._voice.run_id, row.seed_id)
        purpose = f"rollback/{rollback.event.timeline}"
        events = await self._voice.log.store.read_stream(stream)
        mine = self._voice.command_id(stream, purpose)
        before = [recorded for recorded in events if recorded.context.command_id != mine]
        if len(before) < len(events):
            return Told(row.seed_id, tuple(recorded for recorded in events if recorded.context.command_id == mine))
        then = SEED.fold(_event(recorded) for recorded in before if recorded.version <= row.version)
        now = SEED.fold(_event(recorded) for recorded in before)
        command = _stabilised(rollback, then, now, at) if rollback.stabilises else _restored(rollback, then, now, at)
        if command is None:
            return Told(row.seed_id, ())
        appended = await self._voice.tell(
            self._rules.seed, stream, command, purpose, causation=rollback.recorded.event_id, actor="tolaria"
        )
        for recorded in appended.events if appended else ():
            await self._reporting.react(recorded)
        return Told(row.seed_id, tuple(appended.events) if appended else ())

    async def _rebase_memory(self, rollback: Rollback, at: Moment) -> None:
        policy, event = self._rules.policy, rollback.event
        assert policy is not None  # noqa: S101
        stream = policy_stream(self._voice.run_id)
        events = await self._voice.log.store.read_stream(stream)
        then = fold(events, policy.initial, policy.evolve, until=event.abandoned_from - 1).state
        memory = memory_of(then, at.epoch - event.to.epoch)
        await self._voice.tell(
            policy,
            stream,
            RebaseMemory(at=at, timeline=event.timeline, memory=memory),
            f"rollback/{event.timeline}",
            causation=rollback.recorded.event_id,
            actor="tamiyo",
        )

    def shown(self, rollback: Rollback) -> None:
        """Note that the model shows *rollback*: its timeline has begun."""
        self._waiting.remove(rollback)
        before = self.lineage.pardoned() if self.pardoned else self.lineage
        self._voice.timeline = rollback.event.timeline
        self.lineage = before.after(rollback.event)

    async def complete(self, command: CompleteRollback) -> None:
        """Record how long a rollback took."""
        await self._tell_run(command, f"completed/{command.timeline}")

    async def _tell_run(self, command: Message, purpose: str) -> None:
        await self._voice.tell(RUN, run_stream(self._voice.run_id), command, purpose)


def lineage_at(checkpoint: Checkpoint, events: Sequence[Recorded]) -> Lineage:
    """Return the lineage of a run, of which *events* are all, when *checkpoint* was committed."""
    committed = next(recorded.position for recorded in events if _is_of(recorded, checkpoint.checkpoint_id))
    return lineage(_event(recorded) for recorded in events if recorded.position <= committed)


def _restored(rollback: Rollback, then: Seed, now: Seed, at: Moment) -> RebaseSeed | None:
    if now.version == then.version and now.stage in (Stage.SEED_STAGE_UNKNOWN, Stage.SEED_STAGE_DORMANT):
        return None
    return _rebased(rollback, then, at)


def _stabilised(rollback: Rollback, then: Seed, now: Seed, at: Moment) -> RebaseSeed | CullSeed | None:
    """Only what was kept before the checkpoint stays: a seed that still grows is culled, and its slot embargoed."""
    reason = f"the run was rolled back: {rollback.event.reason}"
    if now.alive:
        return CullSeed(at=at, reason=reason, initiator=CullInitiator.CULL_INITIATOR_RUNTIME)
    kept_since = now.stage == Stage.SEED_STAGE_FOSSILIZED and (
        then.stage != Stage.SEED_STAGE_FOSSILIZED or then.generation != now.generation
    )
    if not kept_since:
        return None
    rebased = _rebased(rollback, then, at)
    rebased.cull_reason = reason if then.alive else ""
    return rebased


def _rebased(rollback: Rollback, then: Seed, at: Moment) -> RebaseSeed:
    event = rollback.event
    return RebaseSeed(
        at=at,
        timeline=event.timeline,
        checkpoint_id=event.checkpoint_id,
        to_version=then.version,
        state=slot_state(then, at.step - event.to.step, at.epoch - event.to.epoch),
    )


def _is_of(recorded: Recorded, checkpoint_id: str) -> bool:
    event = recorded.event
    return isinstance(event, CheckpointCommitted) and event.checkpoint.checkpoint_id == checkpoint_id


def _event(recorded: Recorded) -> Any:
    return recorded.event
