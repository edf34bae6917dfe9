"""The heuristic controller: where, what and when to grow, from measured numbers alone.

pressure at a free slot ─→ GERMINATE      promise in TRAINING ─→ BLEND      alpha at its target ─→ SHADOW
contribution on probation ─→ FOSSILIZE    no promise, no pay, harm ─→ CULL    nothing of these ─→ WAIT, and why
"""

from collections.abc import Sequence
from typing import TypeAlias, assert_never

from google.protobuf.message import Message

from esper.leyline.decider import Decider
from esper.leyline.v1.enums_pb2 import DecisionAction as Action
from esper.leyline.v1.policy_pb2 import (
    DecisionMade,
    DecisionMissed,
    DecisionWithdrawn,
    JudgeEpoch,
    MemoryRebased,
    MissDecision,
    RebaseMemory,
    WithdrawDecision,
)
from esper.tamiyo.errors import PolicyRuleBroken
from esper.tamiyo.rules.germination import growth
from esper.tamiyo.rules.judgement import judgement
from esper.tamiyo.rules.memory import LOST, SCORE, PolicyEvent, PolicyState, remember
from esper.tamiyo.rules.settings import HeuristicSettings

PolicyCommand: TypeAlias = JudgeEpoch | MissDecision | WithdrawDecision | RebaseMemory


def policy(settings: HeuristicSettings) -> Decider[PolicyState, PolicyCommand, PolicyEvent]:
    """Return the controller's rules under *settings*.

    Each judged epoch is answered by at most one action per live seed, then at most one germination; when there is
    none of either, by one WAIT that says why. Before them, one WAIT for each seed that is found gone.
    """

    def decide(state: PolicyState, command: PolicyCommand) -> list[PolicyEvent]:
        match command:
            case MissDecision() if state.epoch > command.at.epoch:
                raise PolicyRuleBroken(command.at.epoch, state.epoch)
            case WithdrawDecision():
                return [_withdrawn(command)]
            case MissDecision():
                return [DecisionMissed(at=command.at, reason=command.reason)]
            case RebaseMemory():
                return [MemoryRebased(at=command.at, timeline=command.timeline, memory=command.memory)]
            case JudgeEpoch():
                return list[PolicyEvent](_judged(settings, state, command))
            case _:
                assert_never(command)

    def evolve(state: PolicyState, event: PolicyEvent) -> PolicyState:
        return remember(
            state, event, per_cull=settings.penalty_per_cull, kept_per_epoch=settings.penalty_kept_per_epoch
        )

    return Decider(name="policy", initial=PolicyState(), decide=decide, evolve=evolve)


def caused_command(decision: DecisionMade) -> Message | None:
    """Return the seed command that *decision* asks for; None for a WAIT."""
    chosen = decision.WhichOneof("command")
    return None if chosen is None else getattr(decision, chosen)


def _withdrawn(command: WithdrawDecision) -> DecisionWithdrawn:
    return DecisionWithdrawn(
        at=command.at,
        decision_id=command.decision_id,
        action=command.action,
        seed_id=command.seed_id,
        blueprint_id=command.blueprint_id,
        reason=command.reason,
    )


def _judged(settings: HeuristicSettings, state: PolicyState, command: JudgeEpoch) -> list[DecisionMade]:
    epoch = command.facts.at.epoch
    if state.epoch >= epoch:
        raise PolicyRuleBroken(epoch, state.epoch)
    version = settings.version()
    said = [judgement(settings, state, command, seed) for seed in command.facts.seeds]
    lost = [_signed(command, each, version) for each in said if each is not None and LOST in each.inputs]
    judged = [each for each in said if each is not None and LOST not in each.inputs]
    # What is found lost counts at once, so that the slot is not given the same seed again.
    judged.append(growth(settings, policy(settings).fold(lost, state), command))
    actions = [each for each in judged if each.action != Action.DECISION_ACTION_WAIT]
    return lost + [_signed(command, each, version) for each in actions or [_one_wait(judged)]]


def _signed(command: JudgeEpoch, decision: DecisionMade, version: str) -> DecisionMade:
    """Return *decision* with what every decision carries: when, upon what, by which policy, at what score."""
    signed = DecisionMade(at=command.facts.at, policy_version=version, observation_id=command.observation_id)
    signed.MergeFrom(decision)
    if command.facts.HasField("score"):
        signed.inputs[SCORE] = command.facts.score
    return signed


def _one_wait(waits: Sequence[DecisionMade]) -> DecisionMade:
    """Return one WAIT that says what all of *waits* say; a seed's numbers carry its id."""
    wait = DecisionMade(
        action=Action.DECISION_ACTION_WAIT,
        seed_id=waits[0].seed_id if len(waits) == 1 else "",
        reason="; ".join(each.reason for each in waits),
    )
    for each in waits:
        prefix = f"{each.seed_id}." if each.seed_id and len(waits) > 1 else ""
        wait.inputs.update({prefix + name: value for name, value in each.inputs.items()})
        wait.thresholds.update({prefix + name: value for name, value in each.thresholds.items()})
    return wait


POLICY = policy(HeuristicSettings())
