"""A run's history judged again: what cannot have happened is found and named."""

import pytest
from google.protobuf.message import Message

from actors.verification import Divergence, Loss, Verified, Witness, verify_run
from esper.kasmina.rules.gates import GateLimits, evaluate
from esper.leyline.registry import EVENTS
from esper.leyline.v1.enums_pb2 import CullInitiator
from esper.leyline.v1.enums_pb2 import SeedLifecycleGate as Gate
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage
from esper.leyline.v1.run_pb2 import CheckpointSeed
from esper.leyline.v1.seed_pb2 import (
    AlphaRampCompleted,
    AlphaRampPaused,
    GateEvaluated,
    KernelAttached,
    SeedBlendingStarted,
    SeedCulled,
    SeedFossilized,
    SeedGerminated,
    SeedProbationStarted,
    SlotReopened,
    SlotTerminated,
)
from esper.leyline.v1.site_pb2 import Moment
from eventstore.memory import MemoryStore
from tests.ops.story import G0, G1, G2, RUN_ID, Teller, tell_story

LIMITS = GateLimits()
LATER = Moment(step=900, epoch=90)


async def _training() -> Teller:
    """A run whose slot s0 holds a seed in TRAINING since step 11, and s1 is dormant; eight positions are written."""
    teller = Teller(MemoryStore(EVENTS))
    await teller.start()
    seen = await teller.epoch(1)
    planted = await teller.germinate("s0", 1, seen)
    await teller.attach("s0", 11, await teller.kernel("s0", planted))
    return teller


async def _judged(teller: Teller) -> Verified | Divergence:
    return await verify_run(teller.store, RUN_ID)


async def _kind_after(slot: str, *events: Message) -> str:
    """Return the kind of divergence that appending *events* to a slot causes, checking that it is named in place."""
    teller = await _training()
    recorded = await teller.record(teller.seed(slot), *events)
    found = await _judged(teller)
    assert isinstance(found, Divergence), found
    assert (found.position, found.stream) == (recorded[0].position, str(teller.seed(slot)))
    return found.kind


async def test_a_run_told_by_the_rules_verifies() -> None:
    store = MemoryStore(EVENTS)
    await tell_story(store)
    found = await verify_run(store, RUN_ID)
    assert isinstance(found, Verified)
    assert (found.gates, found.kernels, found.checkpoints, found.last_position) == (9, 2, 2, 35)


@pytest.mark.parametrize(
    "inputs",
    [G2 | {"probe_gain": -0.5}, {name: value for name, value in G2.items() if name != "r_squared"}],
    ids=["failed", "not measured"],
)
async def test_a_verdict_that_its_own_numbers_contradict_is_found(inputs: dict[str, float]) -> None:
    honest = evaluate(Gate.SEED_GATE_G2_STABILITY, inputs, LATER, LIMITS)
    told = evaluate(Gate.SEED_GATE_G2_STABILITY, G2, LATER, LIMITS)
    forged = GateEvaluated()
    forged.CopyFrom(told)
    del forged.inputs["probe_gain"], forged.inputs["r_squared"]
    forged.inputs.update(honest.inputs)
    assert await _kind_after("s0", forged) == "gate verdict"


@pytest.mark.parametrize(
    ("slot", "event"),
    [
        ("s0", SeedProbationStarted(at=LATER)),
        ("s0", SeedFossilized(at=LATER)),
        ("s0", AlphaRampCompleted(at=LATER)),
        ("s0", AlphaRampPaused(at=LATER)),
        ("s0", SlotReopened(at=LATER)),
        ("s0", SlotTerminated(at=LATER)),
        ("s1", SeedBlendingStarted(at=LATER)),
        ("s1", SeedCulled(at=LATER, from_stage=Stage.SEED_STAGE_DORMANT)),
        ("s1", KernelAttached(at=LATER)),
    ],
)
async def test_an_edge_that_does_not_exist_is_found(slot: str, event: Message) -> None:
    assert await _kind_after(slot, event) == "edge"


async def test_a_stage_without_its_gate_is_found() -> None:
    assert await _kind_after("s0", SeedBlendingStarted(at=LATER)) == "edge"
    assert await _kind_after("s1", SeedGerminated(at=LATER, generation=1)) == "edge"


async def test_a_stage_after_another_gate_is_found() -> None:
    teller = await _training()
    passed = evaluate(Gate.SEED_GATE_G1_GRADIENT_HEALTH, G1, LATER, LIMITS)
    recorded = await teller.record(teller.seed("s0"), passed, SeedBlendingStarted(at=LATER))
    found = await _judged(teller)
    assert isinstance(found, Divergence)
    assert (found.position, found.index, found.kind) == (recorded[1].position, 1, "edge")


async def test_a_stage_without_an_optimizer_step_in_between_is_found() -> None:
    teller, at = await _training(), Moment(step=11, epoch=1)
    passed = evaluate(Gate.SEED_GATE_G2_STABILITY, G2, at, LIMITS)
    await teller.record(teller.seed("s0"), passed, SeedBlendingStarted(at=at))
    found = await _judged(teller)
    assert isinstance(found, Divergence)
    assert (found.kind, found.found) == ("edge", "step 11")


async def test_a_cull_by_a_gate_that_passed_is_found() -> None:
    initiator = CullInitiator.CULL_INITIATOR_GATE
    culled = SeedCulled(at=LATER, from_stage=Stage.SEED_STAGE_TRAINING, initiator=initiator)
    assert await _kind_after("s0", culled) == "edge"


async def test_a_kernel_that_the_library_never_registered_is_found() -> None:
    teller = Teller(MemoryStore(EVENTS))
    await teller.start()
    await teller.germinate("s0", 1, await teller.epoch(1))
    await teller.attach("s0", 11, "")
    found = await _judged(teller)
    assert isinstance(found, Divergence)
    assert (found.kind, found.found) == ("kernel", "kernels0")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"stage": Stage.SEED_STAGE_BLENDING}, "stage"),
        ({"generation": 2}, "generation"),
        ({"blueprint_id": "BP002"}, "blueprint"),
        ({"kernel_id": "another"}, "kernel"),
        ({"parameters": {"hidden": 8.0}}, "parameters"),
        ({"version": 99}, "version"),
    ],
)
async def test_a_checkpoint_whose_map_differs_from_the_fold_is_found(changed: dict[str, object], told: str) -> None:
    teller = await _training()
    right = {"seed_id": "s0", "generation": 1, "stage": Stage.SEED_STAGE_TRAINING, "blueprint_id": "BP021"}
    right |= {"kernel_id": "kernels0", "parameters": {"hidden": 4.0}, "version": 6}
    await teller.checkpoint(2, CheckpointSeed(**right))
    assert isinstance(await _judged(teller), Verified)
    await teller.checkpoint(3, CheckpointSeed(**(right | changed)))
    found = await _judged(teller)
    assert isinstance(found, Divergence)
    assert found.kind == "checkpoint map"
    assert told in found.found


async def test_a_checkpoint_that_forgets_a_living_seed_is_found() -> None:
    teller = await _training()
    await teller.checkpoint(2)
    found = await _judged(teller)
    assert isinstance(found, Divergence)
    assert (found.kind, found.expected) == ("checkpoint map", "a row for s0")


async def test_a_cause_that_was_never_recorded_is_found() -> None:
    teller = Teller(MemoryStore(EVENTS))
    await teller.start()
    await teller.germinate("s0", 1, "an-event-of-nobody")
    found = await _judged(teller)
    assert isinstance(found, Divergence)
    assert found.kind == "cause"


async def test_a_failed_g0_that_plants_nothing_is_sound() -> None:
    teller = await _training()
    refused = evaluate(Gate.SEED_GATE_G0_SANITY, G0 | {"live_seeds": 99}, LATER, LIMITS)
    await teller.record(teller.seed("s1"), refused)
    assert isinstance(await _judged(teller), Verified)


async def test_another_log_than_the_witness_knows_is_found() -> None:
    teller = await _training()
    found = await verify_run(teller.store, RUN_ID, Witness("the projections", 1, 5))
    assert isinstance(found, Divergence)
    assert found.kind == "replaced"


async def test_a_log_shorter_than_the_witness_has_seen_is_found_at_the_first_missing_position() -> None:
    teller = await _training()
    head = await teller.store.identity()
    witness = Witness("the projections", head.created_ns, head.last_position + 3)
    found = await verify_run(teller.store, RUN_ID, witness)
    assert isinstance(found, Divergence)
    assert (found.kind, found.position) == ("missing", head.last_position + 1)


async def test_a_torn_write_is_told_from_a_loss_by_the_witness() -> None:
    teller = await _training()
    head = await teller.store.identity()
    loss, witness = Loss((), 100), Witness("the projections", head.created_ns, head.last_position)
    assert isinstance(await verify_run(teller.store, RUN_ID, witness, loss), Verified)
    assert isinstance(await verify_run(teller.store, RUN_ID, None, loss), Divergence)
