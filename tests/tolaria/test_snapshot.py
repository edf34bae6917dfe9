"""A state held in memory comes back bit for bit, into the very same tensors."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from esper.tolaria.checkpoint import CheckpointBroken
from esper.tolaria.encoding import encode
from esper.tolaria.snapshot import Shelf, Snapshot, put_back, take
from tests.api.hosts import digits, noisy, train_step

Optimizers = Callable[[Any], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Optimizers] = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters, 1e-2, amsgrad=True),
    "sgd with momentum": lambda parameters: torch.optim.SGD(parameters, 1e-2, momentum=0.9),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, 1e-3, centered=True),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, 1e-2),
    "lbfgs": lambda parameters: torch.optim.LBFGS(parameters, 1e-2, history_size=2),
}


class Training:
    """A host, its optimizer, a scheduler and a generator of its own."""

    def __init__(self, optimizer: Optimizers = OPTIMIZERS["adamw"]) -> None:
        torch.manual_seed(0)
        self.data, self.model = digits(), noisy()
        self.optimizer = optimizer(self.model.parameters())
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
        self.stateful: dict[str, Any] = {"schedule": self.schedule, "draws": torch.Generator()}

    def steps(self, count: int) -> list[float]:
        found = list[float]()
        for x, y in list(self.data.batches(16))[:count]:
            if isinstance(self.optimizer, torch.optim.LBFGS):
                self.optimizer.step(lambda x=x, y=y: self._gradient(x, y))
            else:
                found.append(train_step(self.model, self.optimizer, x, y).item())
            found.append(float(torch.rand(1, generator=self.stateful["draws"])))
        if count:
            self.schedule.step()
        return found

    def _gradient(self, x: torch.Tensor, y: torch.Tensor) -> float:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(x), y)
        loss.backward()
        return loss.item()

    def taken(self) -> Snapshot:
        return take(self.model, self.optimizer, self.stateful, {}, None)

    def put_back(self, snapshot: Snapshot, *, steady: bool = False) -> None:
        put_back(snapshot, self.model, self.optimizer, self.stateful, steady=steady)

    def bits(self) -> bytes:
        return encode({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()})


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("before", [0, 4])
def test_training_goes_on_from_a_snapshot_bit_for_bit(optimizer: Optimizers, before: int):
    training = Training(optimizer)
    training.steps(before)
    snapshot, then = training.taken(), training.bits()
    first, after = training.steps(5), training.bits()
    training.put_back(snapshot)
    assert training.bits() == then
    assert (training.steps(5), training.bits()) == (first, after)
    training.put_back(snapshot)
    assert training.bits() == then


def test_parameters_and_moments_stay_the_same_tensors():
    training = Training()
    training.steps(2)
    held = [*training.model.parameters(), *(s["exp_avg"] for s in training.optimizer.state.values())]
    snapshot = training.taken()
    training.steps(2)
    training.put_back(snapshot)
    now = [*training.model.parameters(), *(s["exp_avg"] for s in training.optimizer.state.values())]
    assert all(one is other for one, other in zip(held, now, strict=True))
    assert all(parameter.grad is None for parameter in training.model.parameters())


def test_a_steady_return_clears_the_moments_and_lets_random_streams_run_on():
    training = Training()
    training.steps(3)
    snapshot, rate = training.taken(), training.optimizer.param_groups[0]["lr"]
    training.steps(3)
    training.optimizer.param_groups[0]["lr"] = 100.0
    draws, stream = training.stateful["draws"].get_state(), torch.get_rng_state()
    training.put_back(snapshot, steady=True)
    assert (training.optimizer.param_groups[0]["lr"], len(training.optimizer.state)) == (rate, 0)
    assert torch.equal(training.stateful["draws"].get_state(), draws)
    assert torch.equal(torch.get_rng_state(), stream)
    assert training.schedule.last_epoch == 1


@pytest.mark.parametrize("change", [lambda model: model.pop(-1), lambda model: model.append(nn.Linear(10, 10))])
def test_a_snapshot_of_another_structure_is_refused_and_nothing_has_moved(change: Callable[[Any], Any]):
    training = Training()
    snapshot = training.taken()
    training.steps(2)
    change(training.model)
    then = encode(training.model.state_dict())
    with pytest.raises(CheckpointBroken):
        training.put_back(snapshot)
    assert encode(training.model.state_dict()) == then


def test_what_is_not_finite_is_found_in_weights_and_in_moments():
    training = Training()
    training.steps(2)
    assert training.taken().finite
    next(iter(training.optimizer.state.values()))["exp_avg"][0] = float("nan")
    assert not training.taken().finite
    training.optimizer.state.clear()
    with torch.no_grad():
        next(training.model.parameters())[0] = float("inf")
    assert not training.taken().finite


def test_a_shelf_keeps_what_was_used_last_within_its_number_and_bytes():
    training = Training()
    snapshot = training.taken()
    shelf = Shelf(2, 10 * snapshot.size_bytes)
    assert [shelf.put(name, snapshot) for name in "ab"] == [True, True]
    assert shelf.get("a") is snapshot
    shelf.put("c", snapshot)
    assert [shelf.get(name) is not None for name in "abc"] == [True, False, True]
    small = Shelf(5, int(1.5 * snapshot.size_bytes))
    small.put("a", snapshot)
    small.put("b", snapshot)
    assert (small.get("a"), small.get("b")) == (None, snapshot)
    assert not Shelf(5, snapshot.size_bytes - 1).put("a", snapshot)
    assert snapshot.size_bytes > sum(p.numel() * 4 for p in training.model.parameters())
