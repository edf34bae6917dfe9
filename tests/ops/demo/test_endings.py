"""Every seed's end is told once, with its reason."""

from esper.kasmina.rules.seed import Seed
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from ops.demo.endings import Endings


def culled(generation=1, stage=Stage.SEED_STAGE_CULLED):
    return Seed(
        stage=stage, generation=generation, blueprint_id="BP002", cull_reason="gate G2: r_squared -0.1 (limit 0)"
    )


def test_a_living_seed_has_no_ending():
    assert Endings().look(3, {"conv1": Seed(stage=Stage.SEED_STAGE_TRAINING, generation=1)}) == []


def test_a_culled_seed_is_told_once_while_its_slot_rests():
    endings = Endings()
    told = endings.look(3, {"conv1": culled()}) + endings.look(4, {"conv1": culled(stage=Stage.SEED_STAGE_EMBARGOED)})
    assert [str(ending) for ending in told] == ["epoch 3: BP002 at conv1 culled: gate G2: r_squared -0.1 (limit 0)"]


def test_the_next_seed_of_a_slot_ends_anew():
    endings = Endings()
    endings.look(3, {"conv1": culled(generation=1)})
    endings.look(9, {"conv1": culled(generation=2)})
    assert [ending.epoch for ending in endings] == [3, 9]


def test_a_kept_seed_is_told_with_its_worth():
    kept = Seed(stage=Stage.SEED_STAGE_FOSSILIZED, generation=1, blueprint_id="BP021", contribution=0.0325)
    (ending,) = Endings().look(12, {"conv1 -> head": kept})
    assert str(ending) == "epoch 12: BP021 at conv1 -> head kept: worth +3.25 points of held-out accuracy"
