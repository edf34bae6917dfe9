"""What the controller remembers of its own decisions."""

from typing import TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from esper.leyline.v1.enums_pb2 import DecisionAction as Action
from esper.leyline.v1.policy_pb2 import (
    DecisionMade,
    DecisionMissed,
    DecisionWithdrawn,
    Memory,
    MemoryRebased,
    RememberedAction,
    RememberedFailures,
    RememberedLife,
    RememberedPenalty,
)

PolicyEvent: TypeAlias = DecisionMade | DecisionMissed | DecisionWithdrawn | MemoryRebased

# Names among a decision's inputs that the memory itself reads back.
SCORE, GENERATION, LOST = "score", "generation", "lost"


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """One seed that the controller germinated; `ended` once it was culled or found gone."""

    generation: int
    blueprint_id: str
    germinated_epoch: int
    score_at_germination: float | None
    ended: bool = False


class Penalty(msgspec.Struct, frozen=True):
    """How badly a blueprint did lately, as it stood at the end of *epoch*."""

    amount: float
    epoch: int

    def at(self, epoch: int, kept_per_epoch: float) -> float:
        """Return what is left of the penalty at *epoch*."""
        return self.amount * kept_per_epoch ** max(0, epoch - self.epoch)


class PolicyState(msgspec.Struct, frozen=True):
    """The controller's memory, folded from its decisions.

    `lives` holds the newest seed of each slot, `penalties` what each blueprint owes, `failures` how often a blueprint
    did not last, by (slot, blueprint), `last` the newest decision about each slot ("" for the run as a whole).
    """

    epoch: int = 0
    lives: dict[str, Life] = {}
    penalties: dict[str, Penalty] = {}
    failures: dict[tuple[str, str], int] = {}
    last: dict[str, Action] = {}
    missed: int = 0
    timeline: int = 0

    def life(self, seed_id: str, generation: int, blueprint_id: str) -> Life | None:
        """Return what is remembered of this very seed; None if the controller did not germinate it."""
        life = self.lives.get(seed_id)
        if life is None or (life.generation, life.blueprint_id) != (generation, blueprint_id):
            return None
        return life


def remember(state: PolicyState, event: PolicyEvent, *, per_cull: float, kept_per_epoch: float) -> PolicyState:
    """Fold one recorded decision into *state*. Total: history is never refused."""
    match event:
        case DecisionMissed():
            return replace(state, missed=state.missed + 1)
        case DecisionWithdrawn(action=Action.DECISION_ACTION_GERMINATE, seed_id=seed_id):
            return replace(state, lives=_with_end(state, seed_id, ended=True))
        case DecisionWithdrawn(action=Action.DECISION_ACTION_CULL):
            return _unended(state, event, per_cull, kept_per_epoch)
        case DecisionWithdrawn():
            return state
        case MemoryRebased(memory=memory, timeline=timeline):
            return replace(_recalled(memory), epoch=state.epoch, timeline=timeline)
        case DecisionMade(at=at, seed_id=seed_id, action=action):
            state = replace(state, epoch=max(state.epoch, at.epoch), last={**state.last, seed_id: action})
            if action == Action.DECISION_ACTION_GERMINATE:
                return replace(state, lives={**state.lives, seed_id: _begun(event)})
            if action == Action.DECISION_ACTION_CULL or LOST in event.inputs:
                return _ended(state, event, per_cull, kept_per_epoch)
            return state
        case _:
            assert_never(event)


def _begun(event: DecisionMade) -> Life:
    return Life(
        generation=int(event.inputs[GENERATION]),
        blueprint_id=event.blueprint_id,
        germinated_epoch=event.at.epoch,
        score_at_germination=event.inputs.get(SCORE),
    )


def _ended(state: PolicyState, event: DecisionMade, per_cull: float, kept_per_epoch: float) -> PolicyState:
    seed_id, blueprint = event.seed_id, event.blueprint_id
    owed = state.penalties.get(blueprint, Penalty(0.0, event.at.epoch)).at(event.at.epoch, kept_per_epoch)
    tried = (seed_id, blueprint)
    return replace(
        state,
        lives=_with_end(state, seed_id, ended=True),
        penalties={**state.penalties, blueprint: Penalty(owed + per_cull, event.at.epoch)},
        failures={**state.failures, tried: state.failures.get(tried, 0) + 1},
    )


def _unended(state: PolicyState, event: DecisionWithdrawn, per_cull: float, kept_per_epoch: float) -> PolicyState:
    """Take back what a cull was booked for: it did not happen, and the blueprint owes nothing for it."""
    blueprint, tried = event.blueprint_id, (event.seed_id, event.blueprint_id)
    penalties = {name: penalty for name, penalty in state.penalties.items() if name != blueprint}
    failures = {name: count for name, count in state.failures.items() if name != tried}
    if (penalty := state.penalties.get(blueprint)) is not None:
        booked = Penalty(per_cull, event.at.epoch).at(penalty.epoch, kept_per_epoch)
        if penalty.amount > booked:
            penalties[blueprint] = Penalty(penalty.amount - booked, penalty.epoch)
    if (count := state.failures.get(tried, 0)) > 1:
        failures[tried] = count - 1
    lives = _with_end(state, event.seed_id, ended=False)
    return replace(state, lives=lives, penalties=penalties, failures=failures)


def _with_end(state: PolicyState, seed_id: str, *, ended: bool) -> dict[str, Life]:
    life = state.lives.get(seed_id)
    return state.lives if life is None else {**state.lives, seed_id: replace(life, ended=ended)}


def memory_of(state: PolicyState, epochs: int) -> Memory:
    """Return what *state* remembers, with its epochs moved on by *epochs*: a rollback turns no clock back."""
    return Memory(
        lives=[
            RememberedLife(
                seed_id=seed_id,
                generation=life.generation,
                blueprint_id=life.blueprint_id,
                germinated_epoch=life.germinated_epoch + epochs,
                score_at_germination=life.score_at_germination,
                ended=life.ended,
            )
            for seed_id, life in state.lives.items()
        ],
        penalties=[
            RememberedPenalty(blueprint_id=blueprint_id, amount=penalty.amount, epoch=penalty.epoch + epochs)
            for blueprint_id, penalty in state.penalties.items()
        ],
        failures=[
            RememberedFailures(seed_id=seed_id, blueprint_id=blueprint_id, count=count)
            for (seed_id, blueprint_id), count in state.failures.items()
        ],
        last=[RememberedAction(seed_id=seed_id, action=action) for seed_id, action in state.last.items()],
        missed=state.missed,
    )


def _recalled(memory: Memory) -> PolicyState:
    return PolicyState(
        lives={
            life.seed_id: Life(
                generation=life.generation,
                blueprint_id=life.blueprint_id,
                germinated_epoch=life.germinated_epoch,
                score_at_germination=life.score_at_germination if life.HasField("score_at_germination") else None,
                ended=life.ended,
            )
            for life in memory.lives
        },
        penalties={owed.blueprint_id: Penalty(owed.amount, owed.epoch) for owed in memory.penalties},
        failures={(failed.seed_id, failed.blueprint_id): failed.count for failed in memory.failures},
        last={done.seed_id: done.action for done in memory.last},
        missed=memory.missed,
    )
