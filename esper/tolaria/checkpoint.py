"""What a run needs to go on as if nothing had happened, as named parts of bytes."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, cast, runtime_checkable

import msgspec
import torch
from torch import nn

from esper.tolaria.encoding import decode, encode
from esper.tolaria.random_state import random_state, restore_random_state

RANK = "rank/"


class CheckpointBroken(Exception):
    """A checkpoint whose parts do not add up; nothing was restored from it."""

    def __init__(self, part: str, why: str) -> None:
        self.part, self.why = part, why
        super().__init__(f"checkpoint part {part!r} {why}: restore the blob from a copy or resume an earlier run")


@runtime_checkable
class Stateful(Protocol):
    """Anything whose state can be taken and put back: a scheduler, a GradScaler, a sampler."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state_dict: Any, /) -> Any: ...


class Part(msgspec.Struct, frozen=True):
    """One part of a checkpoint: the digest under which its bytes are kept, and how many they are."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True):
    """The parts of a checkpoint by name; its own digest names the checkpoint's content."""

    schema: int
    parts: dict[str, Part]

    def encoded(self) -> bytes:
        """Return the manifest as canonical JSON."""
        return msgspec.json.encode(self, order="sorted")


def capture(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    seeds: Mapping[str, object],
    stateful: Mapping[str, Stateful | torch.Generator],
) -> dict[str, bytes]:
    """Return the parts of a checkpoint of everything given, and of the global random streams.

    Raises:
        Unsavable: a state_dict holds a value that is not plain data.
    """
    parts = {
        "model": encode(dict(model.state_dict())),
        "optimizer": encode(optimizer.state_dict()),
        "modes": encode({name: module.training for name, module in named(model)}),
        "random": encode(random_state()),
    }
    parts |= {f"seed/{seed_id}": encode(state) for seed_id, state in seeds.items()}
    parts |= {f"stateful/{name}": encode(_taken(thing)) for name, thing in stateful.items()}
    return parts


def companion(stateful: Mapping[str, Stateful | torch.Generator]) -> bytes:
    """Return what a process that trains a copy of the model has of its own: its random streams and *stateful*.

    Raises:
        Unsavable: a state_dict holds a value that is not plain data.
    """
    return encode({"random": random_state(), "stateful": {name: _taken(thing) for name, thing in stateful.items()}})


def rank_part(rank: int) -> str:
    """Return the name of the part that holds the `companion` of *rank*."""
    return f"{RANK}{rank}"


def ranks_in(parts: Mapping[str, Any]) -> int:
    """Return how many processes trained when *parts* were taken."""
    return 1 + sum(name.startswith(RANK) for name in parts)


def as_rank(parts: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """Return *parts* with what *rank* had of its own in place of the first rank's."""
    own = parts[rank_part(rank)]
    return {**parts, "random": own["random"], **{f"stateful/{name}": state for name, state in own["stateful"].items()}}


def write(parts: Mapping[str, bytes], put: Callable[[bytes], str]) -> tuple[str, int]:
    """Keep *parts* and their manifest through *put*; return the manifest's digest and the bytes written."""
    manifest = Manifest(1, {name: Part(put(data), len(data)) for name, data in sorted(parts.items())})
    data = manifest.encoded()
    return put(data), len(data) + sum(part.bytes for part in manifest.parts.values())


def read(manifest_sha256: str, get: Callable[[str], bytes]) -> dict[str, Any]:
    """Return the decoded parts that `write` kept under *manifest_sha256*; *get* verifies each digest.

    Raises:
        CheckpointBroken: a part has another size than the manifest says.
    """
    manifest = msgspec.json.decode(get(manifest_sha256), type=Manifest)
    parts: dict[str, Any] = {}
    for name, part in manifest.parts.items():
        data = get(part.sha256)
        if len(data) != part.bytes:
            raise CheckpointBroken(name, f"has {len(data)} bytes, not {part.bytes}")
        parts[name] = decode(data)
    return parts


def restore(
    parts: Mapping[str, Any],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    stateful: Mapping[str, Stateful | torch.Generator],
) -> None:
    """Put *parts* back into a model and an optimizer that already have the checkpoint's structure.

    Raises:
        CheckpointBroken: a stateful thing that the checkpoint holds was not given, or the other way round.
    """
    saved = {name.removeprefix("stateful/") for name in parts if name.startswith("stateful/")}
    for name in sorted(saved ^ stateful.keys()):
        raise CheckpointBroken(f"stateful/{name}", "was given to only one of the two processes of this run")
    restore_model(parts, model)
    optimizer.load_state_dict(parts["optimizer"])
    for name, thing in stateful.items():
        state = parts[f"stateful/{name}"]
        if isinstance(thing, torch.Generator):
            thing.set_state(state)
        else:
            thing.load_state_dict(state)
    restore_random_state(parts["random"])


def restore_model(parts: Mapping[str, Any], model: nn.Module) -> None:
    """Put the weights, buffers and modes in *parts* back into a model that already has the checkpoint's structure."""
    model.load_state_dict(parts["model"], strict=True)
    modes: Mapping[str, bool] = parts["modes"]
    for name, module in named(model):
        module.training = modes[name]


def model_sha256(model: nn.Module) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of the model's parameters and buffers, in order."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _taken(thing: Stateful | torch.Generator) -> object:
    return thing.get_state() if isinstance(thing, torch.Generator) else dict(thing.state_dict())


def named(model: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """Return the model's modules with their dotted names."""
    return cast(Iterable[tuple[str, nn.Module]], model.named_modules())
