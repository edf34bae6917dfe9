"""Kernels at hand and room for seeds, in a session: bounded, recorded, and never one module for two slots."""

from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from actors.purposes import purpose_of
from esper.api.settings import KernelLimits
from esper.api.slots import Accepted
from esper.kasmina.room import Room, seed_bytes
from esper.kasmina.rules.seed import Seed
from esper.leyline.v1.run_pb2 import KernelsEvicted
from esper.leyline.v1.seed_pb2 import KernelAttached, KernelAttachFailed, SeedCulled
from tests.api.scripted_log import FAST, Run, ScriptedLog, few_digits


class Twins(nn.Module):
    """A host with two places of the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.one, self.two, self.out = (nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.into(x))
        return self.out(torch.tanh(self.two(torch.tanh(self.one(x)))))


def begun(log: ScriptedLog, resume: str | None = None, **limits: Any) -> Run:
    settings = msgspec.structs.replace(FAST, kernels=KernelLimits(**limits))
    run = Run(log, model=Twins(), sites=["one", "two"], controller=None, settings=settings, resume=resume)
    run.session.observe(few_digits().train_x[:8])
    return run


def germinate(run: Run, *sites: str, blueprint: str = "BP021") -> None:
    for site in sites:
        assert isinstance(run.session.slots[site].germinate(blueprint, init_seed=3), Accepted)


def test_two_slots_of_one_kernel_share_no_module_and_both_learn(log: ScriptedLog):
    run = begun(log)
    germinate(run, "one", "two")
    run.steps(2)
    first, second = (event.kernel_id for event in log.of(KernelAttached))
    assert first == second
    cache = run.session._growth.kernels
    assert (cache.misses, cache.hits, cache.kernel_ids) == (1, 1, (first,))
    modules = [slot.module for slot in run.session._growth.slots.values()]
    one, two = ({id(part) for part in (*module.modules(), *module.parameters())} for module in modules)
    assert one.isdisjoint(two)
    run.to(1)
    born = [seen.measured["weights_moved"] for seen in run.session.facts.seeds]
    assert born == [1.0, 1.0]


def test_a_culled_seeds_kernel_is_let_go_of_after_a_while_and_that_is_recorded_once(log: ScriptedLog):
    run = begun(log, unused_epochs=1)
    germinate(run, "one", blueprint="BP021")
    germinate(run, "two", blueprint="BP002")
    run.steps(2)
    kernels = {event.kernel_id for event in log.of(KernelAttached)}
    run.to(1)
    run.session.slots["one"].cull()
    run.to(4)
    (gone,) = log.of(KernelsEvicted)
    assert (set(gone.kernel_ids) < kernels, gone.reason) == (True, "unused")
    assert set(run.session._growth.kernels.kernel_ids) == kernels - set(gone.kernel_ids)
    assert gone.kept_bytes == run.session._growth.kernels.bytes > 0
    (commit,) = ([each] for each in log.recorded() if isinstance(each.event, KernelsEvicted))
    assert purpose_of(commit, run.session.run_id, Seed(), timelines=0) is not None
    run.steps(2)
    run.assert_the_log_is_sound()
    begun(log, resume=run.session.run_id, unused_epochs=1).to(5)
    assert len(log.of(KernelsEvicted)) == 1


def test_in_an_emergency_the_user_lets_go_of_what_no_seed_grows_from(log: ScriptedLog):
    run = begun(log)
    germinate(run, "one", blueprint="BP021")
    germinate(run, "two", blueprint="BP002")
    run.steps(2)
    run.session.slots["one"].cull()
    weights = run.session._growth.slots["s1"].module.state_dict()
    freed = run.session.release_kernels()
    (gone,) = log.of(KernelsEvicted)
    assert (gone.bytes, gone.reason, len(gone.kernel_ids)) == (freed, "emergency", 1)
    assert run.session.release_kernels() == 0
    assert len(log.of(KernelsEvicted)) == 1
    run.steps(1)
    assert run.session._growth.slots["s1"].module.state_dict().keys() == weights.keys()


def test_a_seed_that_does_not_fit_is_refused_and_the_host_goes_on(log: ScriptedLog):
    # Room for one such seed, of 892 parameters, and not for two.
    run = begun(log, memory_mib=0.025)
    germinate(run, "one")
    run.steps(2)
    germinate(run, "two")
    run.steps(2)
    assert len(log.of(KernelAttached)) == 1
    (refused,) = log.of(KernelAttachFailed)
    assert (refused.reason, "more than the" in refused.detail) == ("memory_denied", True)
    assert len(log.of(SeedCulled)) == 1
    assert run.session.stages == {"one": "training", "two": "culled"}
    run.to(1)


def test_room_is_kept_in_reserve():
    room = Room(free=1000, total=10_000)
    assert room.lacks(800, 0.02) == ""
    assert "that are free" in room.lacks(801, 0.02)
    assert seed_bytes(10, torch.float64) == 4 * 10 * 8
