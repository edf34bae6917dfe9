"""The aggregates that live in the trainer's process - run, seeds, policy, field reports - and what happens at a fence.

Every command's id derives from the run and the command's purpose. So a run that was killed and re-executes a stretch
of its training finds the outcomes that the log already holds, instead of deciding a second time.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from google.protobuf.message import Message

from actors.clock import Clock
from actors.dispatch import AggregateCache, dispatch
from actors.ids import derived_id
from actors.place import Log
from actors.streams import kernel_stream, policy_stream, report_stream, run_stream, seed_id_of, seed_stream
from esper.kasmina.rules.seed import Seed, SeedCommand, SeedRuleBroken
from esper.leyline.decider import Decider
from esper.leyline.v1.kernel_pb2 import KernelRegistered, KernelRejected, KernelSpec, RequestKernel
from esper.leyline.v1.policy_pb2 import Candidate, DecisionMade, DecisionMissed, JudgeEpoch, MissDecision
from esper.leyline.v1.run_pb2 import (
    ChangeDeferred,
    Checkpoint,
    CommitCheckpoint,
    DeferChange,
    EndEpoch,
    EpochEnded,
    EpochFacts,
    FinishRun,
    ResumeRun,
    RunFacts,
    RunFinished,
    RunSummary,
    StartRun,
)
from esper.leyline.v1.seed_pb2 import GerminateSeed, RefuseSeedCommand, RegisterSlot, SeedCulled
from esper.leyline.v1.site_pb2 import Moment, Site
from esper.tamiyo.reactors import abort_all_reports, abort_seed_reports, observe_field_reports, open_field_report
from esper.tamiyo.rules.reports import REPORTS
from esper.tolaria.rules.run import RUN
from eventstore.store import Appended, CommandRecord, Context, Recorded, StreamName


class Change(msgspec.Struct, frozen=True):
    """Acknowledged events of one seed that are to be made true in the model once *apply_at* steps are done."""

    seed_id: str
    command_id: str
    events: tuple[Recorded, ...]
    apply_at: int

    @property
    def messages(self) -> tuple[Message, ...]:
        """The events themselves."""
        return tuple(recorded.event for recorded in self.events)


class Refusal(msgspec.Struct, frozen=True):
    """A command that the seed's rules refused, and where the refusal is recorded."""

    seed_id: str
    reason: str
    position: int


class Fence(msgspec.Struct, frozen=True):
    """What an epoch's end brought: the facts as the log holds them, and what was decided upon them."""

    facts: EpochFacts
    recorded_before: bool
    decisions: tuple[DecisionMade, ...]
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]


class MissedFence(msgspec.Struct, frozen=True):
    """An epoch whose facts are not known to be in the log yet, and why."""

    facts: EpochFacts
    reason: str


class Trainer:
    """One run's voice in the log. All coroutines run on the background loop; none touches a tensor."""

    def __init__(
        self,
        log: Log,
        run_id: str,
        clock: Clock,
        *,
        seed_rules: Decider[Seed, SeedCommand, Any],
        policy_rules: Decider[Any, Any, Any] | None,
        sanity: Callable[[GerminateSeed], Mapping[str, float]],
        cache: AggregateCache | None = None,
    ) -> None:
        self.run_id = run_id
        self.position = 0
        self.events_written = 0
        self._log, self._clock = log, clock
        self._seed_rules, self._policy_rules = seed_rules, policy_rules
        self._sanity = sanity
        self._cache = cache or AggregateCache()
        self._missed: list[MissedFence] = []
        self._unapplied: dict[str, Change] = {}
        self._uncertain: dict[str, tuple[str, StreamName]] = {}
        self._deferred: dict[str, int] = {}
        self._missed_epochs: set[int] = set()

    async def tell(
        self,
        decider: Decider[Any, Any, Any],
        stream: StreamName,
        command: Message,
        purpose: str,
        *,
        causation: str = "",
        actor: str = "tolaria",
    ) -> Appended | None:
        """Dispatch *command* under the id that belongs to *purpose*; see `actors.dispatch.dispatch`."""
        context = Context(
            command_id=self.command_id(stream, purpose),
            command_type=type(command).__name__,
            recorded_at_ns=self._clock.now_ns(),
            actor=actor,
            causation_id=causation,
            correlation_id=self.run_id,
            run_id=self.run_id,
        )
        appended = await dispatch(self._log.store, decider, stream, command, context, cache=self._cache)
        if appended is not None:
            self.position = max(self.position, appended.position)
            self.events_written += 0 if appended.duplicate else len(appended.events)
        return appended

    def command_id(self, stream: StreamName, purpose: str) -> str:
        """Return the id of the command that serves *purpose* in *stream*."""
        return derived_id(self.run_id, str(stream), purpose)

    async def register(self, sites: Sequence[Site]) -> tuple[Recorded, ...]:
        """Record a run's slots; they belong to nothing until the run starts."""
        recorded: list[Recorded] = []
        for site in sites:
            stream = seed_stream(self.run_id, site.seed_id)
            appended = await self.tell(self._seed_rules, stream, RegisterSlot(site=site), "register", actor="kasmina")
            recorded.extend(appended.events if appended else ())
        return tuple(recorded)

    async def start(self, facts: RunFacts, checkpoint: Checkpoint) -> None:
        """Record the run's beginning together with its first checkpoint, so that a run can always be resumed."""
        await self._tell_run(StartRun(facts=facts, checkpoint=checkpoint), "start")

    async def resume(self, checkpoint: Checkpoint, attempt: int, after: int) -> tuple[Change, ...]:
        """Record that the run goes on from *checkpoint*, which the log holds at position *after*.

        Returns the changes that the log says took effect later than they were decided for.
        """
        await self._tell_run(
            ResumeRun(checkpoint_id=checkpoint.checkpoint_id, at=checkpoint.at, attempt=attempt), f"resume/{attempt}"
        )
        deferrals = [
            recorded.event
            for recorded in await self._log.store.read_stream(run_stream(self.run_id))
            if recorded.position > after and isinstance(recorded.event, ChangeDeferred)
        ]
        for event in deferrals:
            self._deferred[event.command_id] = event.at.step
        for recorded in await self._log.store.read_stream(policy_stream(self.run_id)):
            if isinstance(recorded.event, DecisionMissed):
                self._missed_epochs.add(recorded.event.at.epoch)
        found = [await self._recorded_change(event.seed_id, event.command_id) for event in deferrals]
        return tuple(change for change in found if change is not None)

    async def end_epoch(self, facts: EpochFacts, candidates: Sequence[Candidate], judge: "JudgeEpoch") -> Fence:
        """Record the epoch's *facts*, let Tamiyo judge them, and have the seeds decide her commands.

        Nothing returned may touch the model before this has returned: that is the acknowledgement.
        """
        await self._make_up_for_missed_fences()
        epoch = facts.at.epoch
        ended = await self._tell_run(EndEpoch(facts=facts), f"epoch/{epoch}")
        if ended is None or not isinstance(ended.events[0].event, EpochEnded):
            raise AssertionError("the run's rules answer EndEpoch with EpochEnded")
        cause = ended.events[0]
        await self._react(cause)
        recorded = ended.events[0].event.facts
        if self._policy_rules is None or epoch in self._missed_epochs:
            return Fence(recorded, ended.duplicate, (), (), ())
        judge.facts.CopyFrom(recorded)
        judge.candidates.extend(candidates)
        judge.observation_id = cause.event_id
        judged = await self.tell(
            self._policy_rules,
            policy_stream(self.run_id),
            judge,
            f"judge/{epoch}",
            causation=cause.event_id,
            actor="tamiyo",
        )
        decisions = [event for event in judged.events if isinstance(event.event, DecisionMade)] if judged else []
        changes: list[Change] = []
        refusals: list[Refusal] = []
        for decision in decisions:
            outcome = await self._carry_out(decision)
            if isinstance(outcome, Change):
                changes.append(outcome)
            elif outcome is not None:
                refusals.append(outcome)
        made = tuple(recorded.event for recorded in decisions if isinstance(recorded.event, DecisionMade))
        return Fence(recorded, ended.duplicate, made, tuple(changes), tuple(refusals))

    async def _carry_out(self, decided: Recorded) -> Change | Refusal | None:
        decision = decided.event
        assert isinstance(decision, DecisionMade)  # noqa: S101
        chosen = decision.WhichOneof("command")
        if chosen is None:
            return None
        await self._react(decided)
        command = getattr(decision, chosen)
        return await self.change(
            decision.seed_id, command, f"decision/{decided.event_id}", causation=decided.event_id, actor="tamiyo"
        )

    async def change(
        self, seed_id: str, command: SeedCommand, purpose: str, *, causation: str = "", actor: str = "kasmina"
    ) -> Change | Refusal | None:
        """Ask a seed's rules for *command*; a refusal is recorded too.

        Raises:
            StoreUnavailable: the outcome is unknown and is settled at the next epoch's end.
        """
        if isinstance(command, GerminateSeed):
            command.evidence.update(self._sanity(command))
        stream = seed_stream(self.run_id, seed_id)
        command_id = self.command_id(stream, purpose)
        self._uncertain[command_id] = (seed_id, stream)
        try:
            appended = await self.tell(self._seed_rules, stream, command, purpose, causation=causation, actor=actor)
        except SeedRuleBroken as broken:
            del self._uncertain[command_id]
            refusal = RefuseSeedCommand(
                at=getattr(command, "at", None), command_type=type(command).__name__, reason=str(broken)
            )
            told = await self.tell(
                self._seed_rules, stream, refusal, f"refusal/{purpose}", causation=causation, actor="kasmina"
            )
            return Refusal(seed_id, str(broken), told.position if told else 0)
        del self._uncertain[command_id]
        if appended is None:
            return None
        change = Change(seed_id, command_id, appended.events, self._deferred.get(command_id, _moment(appended).step))
        self._unapplied[command_id] = change
        for recorded in appended.events:
            await self._react(recorded)
        return change

    def applied(self, change: Change) -> None:
        """Note that the model now shows *change*."""
        self._unapplied.pop(change.command_id, None)

    async def defer(self, change: Change, at: Moment, reason: str) -> None:
        """Record that *change* takes effect at *at*, later than it was decided for."""
        await self._tell_run(
            DeferChange(
                command_id=change.command_id,
                seed_id=change.seed_id,
                reason=reason,
                decided_for=_moment_of(change),
                at=at,
            ),
            f"defer/{change.command_id}/{at.step}",
        )

    def miss(self, facts: EpochFacts, reason: str) -> None:
        """Note that an epoch's fence was not acknowledged in time: its facts are recorded at the next one."""
        self._missed.append(MissedFence(facts, reason))

    async def late_changes(self) -> tuple[Change, ...]:
        """Return changes that the log holds although their fence passed without an acknowledgement.

        A change whose outcome was unknown and that the log does not hold never happened; Tamiyo decides anew.
        """
        for command_id, (seed_id, _) in list(self._uncertain.items()):
            change = await self._recorded_change(seed_id, command_id)
            del self._uncertain[command_id]
            if change is not None:
                self._unapplied[command_id] = change
        return tuple(self._unapplied.values())

    async def _make_up_for_missed_fences(self) -> None:
        for missed in list(self._missed):
            ended = await self._tell_run(EndEpoch(facts=missed.facts), f"epoch/{missed.facts.at.epoch}")
            if ended is not None:
                await self._react(ended.events[0])
            if self._policy_rules is not None:
                await self.tell(
                    self._policy_rules,
                    policy_stream(self.run_id),
                    MissDecision(at=missed.facts.at, reason=missed.reason),
                    f"missed/{missed.facts.at.epoch}",
                    causation=_cause(ended),
                    actor="tamiyo",
                )
            self._missed.remove(missed)

    async def commit_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Record that *checkpoint*'s parts are durably stored; from now on it is one."""
        await self._tell_run(CommitCheckpoint(checkpoint=checkpoint), f"checkpoint/{checkpoint.at.epoch}")

    async def finish(self, summary: RunSummary) -> None:
        """Record the run's end; field reports that still wait close as aborted."""
        await self._make_up_for_missed_fences()
        finished = await self._tell_run(FinishRun(summary=summary), "finish")
        if finished is not None:
            await self._react(finished.events[0])

    async def seed_version(self, seed_id: str) -> int:
        """Return how many events the log holds of a slot."""
        stream = seed_stream(self.run_id, seed_id)
        return (await self._cache.caught_up(self._log.store, self._seed_rules, stream)).version

    async def request_kernel(self, seed_id: str, spec: KernelSpec, key: str, causation: str) -> None:
        """Ask Urza for the kernel of *spec*; asking twice is harmless."""
        stream = kernel_stream(key)
        command_id = self.command_id(stream, f"request/{seed_id}/{causation}")
        await self._log.bus.send(
            CommandRecord(
                command_id=command_id,
                target="urza",
                command=RequestKernel(spec=spec, request_id=command_id, run_id=self.run_id, seed_id=seed_id),
                stream=stream,
                issued_at_ns=self._clock.now_ns(),
                issued_by="kasmina",
                causation_id=causation,
                correlation_id=self.run_id,
                run_id=self.run_id,
            )
        )

    async def await_kernel(self, key: str) -> tuple[KernelRegistered | KernelRejected, str]:
        """Wait until Urza has answered for *key*; return her last answer and its event id."""
        stream = kernel_stream(key)
        head = (await self._log.store.identity()).last_position
        answer = _last_answer(await self._log.store.read_stream(stream))
        if answer is not None:
            return answer
        async for recorded in self._log.store.follow(after=head):
            if recorded.stream == stream and (answer := _last_answer([recorded])) is not None:
                return answer
        raise AssertionError("follow ends only when it is closed")

    async def _tell_run(self, command: Message, purpose: str) -> Appended | None:
        return await self.tell(RUN, run_stream(self.run_id), command, purpose)

    async def _react(self, recorded: Recorded) -> None:
        """Send what Tamiyo's reactors answer to one recorded event to her field reports."""
        for index, command in enumerate(self._reports_on(recorded)):
            await self.tell(
                REPORTS,
                report_stream(self.run_id),
                command,
                f"react/{recorded.event_id}/{index}",
                causation=recorded.event_id,
                actor="tamiyo",
            )

    def _reports_on(self, recorded: Recorded) -> Sequence[Message]:
        match recorded.event:
            case DecisionMade() as event:
                stream = seed_stream(self.run_id, event.seed_id)
                return open_field_report(event, self.command_id(stream, f"decision/{recorded.event_id}"))
            case EpochEnded() as event:
                return observe_field_reports(event)
            case SeedCulled() as event:
                return abort_seed_reports(event, seed_id_of(recorded.stream))
            case RunFinished() as event:
                return abort_all_reports(event)
            case _:
                return ()

    async def _recorded_change(self, seed_id: str, command_id: str) -> Change | None:
        stream = seed_stream(self.run_id, seed_id)
        events = tuple(
            recorded
            for recorded in await self._log.store.read_stream(stream)
            if recorded.context.command_id == command_id
        )
        if not events:
            return None
        return Change(seed_id, command_id, events, self._deferred.get(command_id, _at(events[-1].event).step))


def _cause(appended: Appended | None) -> str:
    return appended.events[-1].event_id if appended else ""


def _at(event: Message) -> Moment:
    return getattr(event, "at", Moment())


def _moment(appended: Appended) -> Moment:
    return _at(appended.events[-1].event)


def _moment_of(change: Change) -> Moment:
    return _at(change.events[-1].event)


def _last_answer(events: Sequence[Recorded]) -> tuple[KernelRegistered | KernelRejected, str] | None:
    for recorded in reversed(events):
        if isinstance(recorded.event, KernelRegistered | KernelRejected):
            return recorded.event, recorded.event_id
    return None
