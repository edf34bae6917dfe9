"""A run's state held in memory: taken at a checkpoint, put back in place, bit for bit."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from esper.tolaria.checkpoint import CheckpointBroken, Stateful, named
from esper.tolaria.random_state import random_state, restore_random_state


class Snapshot(msgspec.Struct, frozen=True):
    """Copies of everything that a checkpoint holds, on the devices where it lives.

    `seeds` maps each slot to its tensors and facts; `vitals` is whatever the governor remembered.
    """

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    modes: dict[str, bool]
    random: dict[str, Any]
    stateful: dict[str, Any]
    seeds: dict[str, tuple[dict[str, Tensor], dict[str, Any]]]
    vitals: Any = None

    @property
    def size_bytes(self) -> int:
        """What its tensors take."""
        found = sum(_size(value) for value in (self.model, self.optimizer, self.stateful))
        return found + sum(_size(tensors) for tensors, _ in self.seeds.values())

    @property
    def finite(self) -> bool:
        """Whether weights, moments and everything else that is learnt are finite numbers; one wait for the device."""
        learnt: list[Tensor] = []
        for part in (self.model, self.optimizer, *(tensors for tensors, _ in self.seeds.values())):
            _tensors(part, learnt)
        verdicts = [torch.isfinite(tensor).all().cpu() for tensor in learnt if tensor.is_floating_point()]
        return bool(torch.stack(verdicts).all()) if verdicts else True


def take(
    model: nn.Module,
    optimizer: Optimizer,
    stateful: Mapping[str, Stateful | torch.Generator],
    seeds: Mapping[str, tuple[dict[str, Tensor], dict[str, Any]]],
    vitals: Any,
) -> Snapshot:
    """Copy the run's state as it is now. *seeds* are taken over as they are."""
    return Snapshot(
        model=_copied(dict(model.state_dict())),
        optimizer=_copied(optimizer.state_dict()),
        modes={name: module.training for name, module in named(model)},
        random=random_state(),
        stateful={name: _state_of(thing) for name, thing in stateful.items()},
        seeds=dict(seeds),
        vitals=vitals,
    )


def from_parts(parts: Mapping[str, Any], vitals: Any) -> Snapshot:
    """Return the snapshot that a checkpoint's decoded *parts* are."""
    seeds = {name.removeprefix("seed/"): saved for name, saved in parts.items() if name.startswith("seed/")}
    return Snapshot(
        model=parts["model"],
        optimizer=parts["optimizer"],
        modes=parts["modes"],
        random=parts["random"],
        stateful={
            name.removeprefix("stateful/"): state for name, state in parts.items() if name.startswith("stateful/")
        },
        seeds={seed_id: (saved["tensors"], saved["facts"]) for seed_id, saved in seeds.items()},
        vitals=vitals,
    )


def refuse_unless_fitting(
    snapshot: Snapshot, model: nn.Module, stateful: Mapping[str, Stateful | torch.Generator]
) -> None:
    """Refuse a snapshot that `put_back` could bring back only in part; nothing has moved.

    Raises:
        CheckpointBroken: names or shapes of the model or of the stateful things differ.
    """
    now = model.state_dict()
    for name in sorted(now.keys() ^ snapshot.model.keys()):
        raise CheckpointBroken(f"model/{name}", "is in only one of the model and the checkpoint")
    for name, tensor in now.items():
        if tensor.shape != snapshot.model[name].shape:
            raise CheckpointBroken(f"model/{name}", f"has the shape {tuple(snapshot.model[name].shape)}")
    for name in sorted(stateful.keys() ^ snapshot.stateful.keys()):
        raise CheckpointBroken(f"stateful/{name}", "was given to only one of the two processes of this run")


def put_back(
    snapshot: Snapshot,
    model: nn.Module,
    optimizer: Optimizer,
    stateful: Mapping[str, Stateful | torch.Generator],
    *,
    steady: bool,
) -> None:
    """Make *model*, *optimizer* and *stateful* what they were. Parameters stay the same tensors; gradients are dropped.

    *steady*: forget the optimizer's moments, and let random streams and generators run on. Moments that led into a
    divergence lead into it again, and so do the same draws.
    """
    refuse_unless_fitting(snapshot, model, stateful)
    now = model.state_dict()
    with torch.no_grad():
        _copy_all([now[name] for name in snapshot.model], list(snapshot.model.values()))
    for parameter in model.parameters():
        parameter.grad = None
    for name, module in named(model):
        module.training = snapshot.modes.get(name, module.training)
    _put_back_optimizer(snapshot.optimizer, optimizer, steady=steady)
    for name, thing in stateful.items():
        state = _copied(snapshot.stateful[name])
        if not isinstance(thing, torch.Generator):
            thing.load_state_dict(state)
        elif not steady:
            thing.set_state(state)
    if not steady:
        restore_random_state(snapshot.random)


def _put_back_optimizer(saved: Mapping[str, Any], optimizer: Optimizer, *, steady: bool) -> None:
    if set(saved) != {"state", "param_groups"}:
        optimizer.load_state_dict(_copied(saved))
    else:
        _put_back_groups(saved, optimizer)
    if steady:
        optimizer.state.clear()


def _put_back_groups(saved: Mapping[str, Any], optimizer: Optimizer) -> None:
    """Copy moments into the tensors that hold them now; `load_state_dict` would make new ones of the model's size."""
    into: list[Tensor] = []
    values: list[Tensor] = []
    for group, was in zip(optimizer.param_groups, saved["param_groups"], strict=True):
        group.update({name: _copied(value) for name, value in was.items() if name != "params"})
        for index, parameter in zip(was["params"], group["params"], strict=True):
            _collect(optimizer, parameter, saved["state"].get(index), into, values)
    with torch.no_grad():
        _copy_all(into, values)


def _collect(
    optimizer: Optimizer, parameter: Tensor, was: Mapping[str, Any] | None, into: list[Tensor], values: list[Tensor]
) -> None:
    if was is None:
        optimizer.state.pop(parameter, None)
        return
    now = cast("dict[str, Any]", optimizer.state[parameter])
    for name in [name for name in now if name not in was]:
        del now[name]
    for name, value in was.items():
        held = now.get(name)
        if isinstance(value, Tensor) and isinstance(held, Tensor) and _alike(value, held):
            into.append(held)
            values.append(value)
        elif isinstance(value, Tensor):
            # As torch's own load_state_dict has it: a step count stays where it is, moments go where the weights are.
            now[name] = value.clone() if name == "step" else value.to(parameter.device, copy=True)
        else:
            now[name] = _copied(value)


def _alike(one: Tensor, other: Tensor) -> bool:
    return (one.shape, one.dtype) == (other.shape, other.dtype)


def _copy_all(into: list[Tensor], values: list[Tensor]) -> None:
    for held, value in zip(into, values, strict=True):
        held.copy_(value)


def _state_of(thing: Stateful | torch.Generator) -> Any:
    return thing.get_state() if isinstance(thing, torch.Generator) else _copied(dict(thing.state_dict()))


def _copied(value: Any) -> Any:
    match value:
        case Tensor():
            return value.detach().clone()
        case dict():
            return {key: _copied(item) for key, item in cast("dict[Any, Any]", value).items()}
        case list():
            return [_copied(item) for item in cast("list[Any]", value)]
        case tuple():
            return tuple(_copied(item) for item in cast("tuple[Any, ...]", value))
        case _:
            return value


def _tensors(value: Any, found: list[Tensor]) -> None:
    match value:
        case Tensor():
            found.append(value)
        case dict():
            for item in cast("dict[Any, Any]", value).values():
                _tensors(item, found)
        case list() | tuple():
            for item in cast("list[Any]", value):
                _tensors(item, found)
        case _:
            return


def _size(value: Any) -> int:
    found: list[Tensor] = []
    _tensors(value, found)
    return sum(tensor.numel() * tensor.element_size() for tensor in found)


class Shelf:
    """The newest snapshots by the id of their checkpoint, bounded in number and bytes; the least used goes first."""

    def __init__(self, limit_count: int, limit_bytes: int) -> None:
        self._limit_count, self._limit_bytes = limit_count, limit_bytes
        self._held: OrderedDict[str, Snapshot] = OrderedDict()
        self._bytes = 0

    @property
    def held(self) -> tuple[int, int]:
        """How many snapshots are held, and their bytes."""
        return len(self._held), self._bytes

    def put(self, checkpoint_id: str, snapshot: Snapshot) -> bool:
        """Keep *snapshot*; False if it alone is over the limit in bytes."""
        self.drop(checkpoint_id)
        if snapshot.size_bytes > self._limit_bytes or self._limit_count < 1:
            return False
        self._held[checkpoint_id] = snapshot
        self._bytes += snapshot.size_bytes
        while len(self._held) > self._limit_count or self._bytes > self._limit_bytes:
            self.drop(next(iter(self._held)))
        return True

    def get(self, checkpoint_id: str) -> Snapshot | None:
        """Return the snapshot of a checkpoint, if it is still held."""
        snapshot = self._held.get(checkpoint_id)
        if snapshot is not None:
            self._held.move_to_end(checkpoint_id)
        return snapshot

    def drop(self, checkpoint_id: str) -> None:
        """Forget a snapshot, if it is held."""
        snapshot = self._held.pop(checkpoint_id, None)
        if snapshot is not None:
            self._bytes -= snapshot.size_bytes
