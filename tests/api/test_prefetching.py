"""A kernel is read, verified and built beside the training, and attached where it always was."""

import torch

from esper.leyline.v1.enums_pb2 import SEED_STAGE_GERMINATED
from esper.leyline.v1.seed_pb2 import KernelAttached, SeedGerminated
from tests.api.hosts import digits
from tests.api.scripted_log import FAST, SPAN, Run, ScriptedLog

WAIT_S = 60.0


def germinated(log: ScriptedLog) -> Run:
    run = Run(log, controller=None, settings=FAST)
    run.session.observe(digits().train_x[:8])
    run.session.slots[SPAN].germinate("BP-PROJ-LoRA-64", rank=4)
    return run


def test_a_kernel_is_verified_before_any_fence_asks_for_it_and_draws_nothing(log: ScriptedLog):
    run = germinated(log)
    before = torch.random.get_rng_state()
    (order,) = run.session._fences._kernels._orders.values()
    found = order.fetched.result(WAIT_S).opened
    assert found is not None
    assert found.built is not None
    kernel, declared = found.built
    assert kernel.evidence["checksum_verified"] == 1.0
    assert kernel.parameter_count == declared
    assert torch.equal(torch.random.get_rng_state(), before)
    assert run.session._growth.seeds["s0"].stage == SEED_STAGE_GERMINATED
    assert not log.of(KernelAttached)


def test_it_is_attached_at_the_first_step_after_the_germination_however_early_it_came(log: ScriptedLog):
    run = germinated(log)
    (order,) = run.session._fences._kernels._orders.values()
    order.fetched.result(WAIT_S)
    run.steps(2)
    (born,), (attached,) = log.of(SeedGerminated), log.of(KernelAttached)
    assert attached.at.step == born.at.step + 1
    assert run.session.stages[SPAN] == "training"
    assert not run.session._fences._kernels._orders


def test_what_training_waits_for_is_told_apart(log: ScriptedLog):
    run = germinated(log)
    waited = run.session.waited_s
    run.steps(1)
    assert run.session.waited_s > waited > 0.0
