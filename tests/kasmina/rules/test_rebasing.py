"""A slot that a rollback puts back is what it was, on clocks that went on."""

import pytest

from esper.kasmina.rules.alpha import Ramp
from esper.kasmina.rules.rebasing import slot_state
from esper.kasmina.rules.seed import SEED, Seed, SeedRuleBroken, seed_as
from esper.leyline.v1.enums_pb2 import AlphaCurve, BlendMode, CullInitiator
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.seed_pb2 import (
    AlphaRampCompleted,
    CullSeed,
    KernelAttached,
    RebaseSeed,
    RefuseSeedCommand,
    SeedBlendingStarted,
    SeedCulled,
    SeedGerminated,
    SeedRebased,
    SeedTrainingStarted,
    SlotEmbargoed,
    SlotRegistered,
    SlotReopened,
    SlotResetStarted,
)
from esper.leyline.v1.site_pb2 import Moment, Site

LINEAR = AlphaCurve.ALPHA_CURVE_LINEAR


def at(epoch: int) -> Moment:
    return Moment(step=10 * epoch, epoch=epoch)


def germinated(epoch: int, generation: int = 1) -> SeedGerminated:
    mode = BlendMode.BLEND_MODE_RESIDUAL
    return SeedGerminated(at=at(epoch), blueprint_id="BP002", blend_mode=mode, generation=generation, kernel_key="k")


BLENDING = [
    SlotRegistered(site=Site(seed_id="s0")),
    germinated(1),
    KernelAttached(at=at(2), kernel_id="id", parameter_count=7),
    SeedTrainingStarted(at=at(2)),
    SeedBlendingStarted(at=at(4), alpha_target=0.5, curve=LINEAR, ramp_steps=20),
]
GONE = [
    SeedCulled(at=at(6)),
    SlotEmbargoed(at=at(6), until_epoch=7),
    SlotResetStarted(at=at(7)),
    SlotReopened(at=at(8)),
    germinated(8, 2),
]


def rebased(then: Seed, reason: str = "", timeline: int = 1) -> RebaseSeed:
    state = slot_state(then, 40, 4)
    return RebaseSeed(
        at=at(9), timeline=timeline, checkpoint_id="c", to_version=then.version, state=state, cull_reason=reason
    )


@pytest.mark.parametrize("upto", range(1, len(BLENDING + GONE) + 1))
def test_every_state_of_a_slot_is_written_whole(upto: int):
    then = SEED.fold((BLENDING + GONE)[:upto])
    again = seed_as(slot_state(then, 0, 0), Seed(site=then.site, version=then.version))
    assert again == then


def test_what_counts_steps_or_epochs_is_moved_on_and_nothing_else_is():
    then = SEED.fold(BLENDING)
    now = SEED.fold([*BLENDING, AlphaRampCompleted(at=at(6)), *SEED.decide(then, rebased(then))])
    assert now.ramp == Ramp(80, 20, 0.0, 0.5, LINEAR)
    assert (now.since_step, now.since_epoch, now.germinated_epoch) == (80, 8, 5)
    assert (now.stage, now.kernel_id, now.ramp_completed) == (Stage.SEED_STAGE_BLENDING, "id", False)
    assert (now.version, now.timeline) == (then.version + 2, 1)


def test_no_two_lives_of_a_slot_share_a_number_across_timelines():
    then, history = SEED.fold(BLENDING[:1]), [*BLENDING, *GONE]
    now = SEED.fold([*history, *SEED.decide(SEED.fold(history), rebased(then))])
    assert (now.generation, now.next_generation) == (0, 3)


def test_a_seed_that_is_brought_back_may_be_culled_at_once():
    then = SEED.fold(BLENDING)
    back, culled = SEED.decide(then, rebased(then, reason="the run was rolled back"))
    assert isinstance(back, SeedRebased)
    assert isinstance(culled, SeedCulled)
    assert (culled.from_stage, culled.initiator) == (
        Stage.SEED_STAGE_BLENDING,
        CullInitiator.CULL_INITIATOR_RUNTIME,
    )


def test_what_was_decided_before_a_rollback_is_refused_after_it():
    then = SEED.fold(BLENDING)
    now = SEED.fold([*BLENDING, *SEED.decide(then, rebased(then))])
    with pytest.raises(SeedRuleBroken, match="before the rollback that began timeline 1"):
        SEED.decide(now, CullSeed(at=at(8)))
    assert SEED.decide(now, CullSeed(at=at(9)))
    assert SEED.decide(now, RefuseSeedCommand(at=at(8)))


def test_a_rollback_is_written_into_a_slot_once():
    then = SEED.fold(BLENDING)
    now = SEED.fold([*BLENDING, *SEED.decide(then, rebased(then))])
    with pytest.raises(SeedRuleBroken):
        SEED.decide(now, rebased(then))
    assert SEED.decide(now, rebased(then, timeline=2))
