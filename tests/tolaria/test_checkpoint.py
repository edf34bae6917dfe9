"""What a checkpoint holds comes back to the last bit, and what cannot be held is named."""

import hashlib
import math
import random

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from esper.tolaria.checkpoint import CheckpointBroken, Manifest, capture, model_sha256, read, restore, write
from esper.tolaria.encoding import Unsavable, decode, encode


class Blobs:
    """Content-addressed bytes in a dict."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.kept[digest] = data
        return digest


def trained() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(3):
        model(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
    return model, optimizer


def test_nested_state_comes_back_as_it_was():
    state = {
        "step": 3,
        0: (1.5, None, [True, "x"]),
        "large": 2**80,
        "odd": [math.inf, -math.inf],
        "tensors": {"half": torch.ones(2, dtype=torch.bfloat16), "scalar": torch.tensor(7)},
    }
    back = decode(encode(state))
    assert {key: back[key] for key in ("step", 0, "large", "odd")} == {
        key: state[key] for key in ("step", 0, "large", "odd")
    }
    assert torch.equal(back["tensors"]["half"], torch.ones(2, dtype=torch.bfloat16))
    assert back["tensors"]["scalar"].shape == ()


def test_tensors_that_share_memory_are_saved_apart():
    shared = torch.arange(4.0)
    back = decode(encode({"a": shared, "b": shared}))
    assert torch.equal(back["a"], back["b"])


def test_what_a_checkpoint_cannot_hold_is_named_with_its_path():
    with pytest.raises(Unsavable, match=r"state\.hook\.1 is a function"):
        encode({"hook": [1, lambda: 1]})


def test_training_goes_on_from_a_checkpoint_bit_for_bit():
    blobs = Blobs()
    model, optimizer = trained()
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    order = torch.Generator().manual_seed(5)
    stateful = {"scheduler": scheduler, "order": order}
    manifest, _ = write(capture(model, optimizer, {}, stateful), blobs.put)

    def go_on(net: nn.Module, steps: torch.optim.Optimizer) -> str:
        net(torch.randn(8, 4, generator=order)).sum().backward()
        steps.step()
        return model_sha256(net) + repr((random.random(), np.random.rand(), torch.rand(2)))

    def from_checkpoint() -> str:
        net, steps = trained()
        its = {"scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(steps, 10), "order": order}
        restore(read(manifest, blobs.kept.__getitem__), net, steps, its)
        steps.zero_grad()
        return go_on(net, steps)

    optimizer.zero_grad()
    assert go_on(model, optimizer) == from_checkpoint() == from_checkpoint()


def test_a_stateful_thing_given_to_only_one_process_is_named():
    blobs = Blobs()
    model, optimizer = trained()
    manifest, _ = write(capture(model, optimizer, {}, {"order": torch.Generator()}), blobs.put)
    with pytest.raises(CheckpointBroken, match="stateful/order"):
        restore(read(manifest, blobs.kept.__getitem__), model, optimizer, {})


def test_a_part_of_another_length_is_refused_before_anything_is_restored():
    blobs = Blobs()
    model, optimizer = trained()
    manifest, _ = write(capture(model, optimizer, {}, {}), blobs.put)
    part = next(iter(msgspec.json.decode(blobs.kept[manifest], type=Manifest).parts.values()))
    blobs.kept[part.sha256] += b"x"
    with pytest.raises(CheckpointBroken, match="bytes"):
        read(manifest, blobs.kept.__getitem__)


def test_the_model_digest_tells_apart_what_a_sum_would_not():
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    other.load_state_dict(one.state_dict())
    assert model_sha256(one) == model_sha256(other)
    with torch.no_grad():
        other.weight.copy_(one.weight.flip(0))
    assert model_sha256(one) != model_sha256(other)
