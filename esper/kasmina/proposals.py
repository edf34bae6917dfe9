"""Which places of a model `"auto"` proposes, best first, and why it leaves the others out.

What is known about where growing pays (docs/growing.md): a span over a bottleneck gains most; then what a whole block
gives (attention, feed-forward, recurrent, convolution); a single layer inside such a block comes last.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import cast

import msgspec
from torch import nn
from torch.nn.modules import activation, batchnorm, dropout, instancenorm, normalization, pooling

AUTO_LIMIT = 16

BOTTLENECK = "a span over a bottleneck"
WHOLE = "a span over all layers"
RECURRENT = "a recurrent layer's output"
ATTENTION = "an attention layer's output"
MLP = "a feed-forward block's output"
CONV_BLOCK = "a convolution block's output"
LAYER = "a linear layer"
CONV = "a convolution layer"
TRANSFORMER_LAYER = "a transformer layer's output"
WITHIN = "inside a transformer layer's feed-forward block"
RANKS = (BOTTLENECK, WHOLE, RECURRENT, ATTENTION, MLP, CONV_BLOCK, CONV, LAYER, TRANSFORMER_LAYER)

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
GROWABLE = (nn.Linear, *CONVOLUTIONS)
# What returns a tuple whose first element is what the next layer reads.
TUPLES = (nn.RNNBase, nn.LSTMCell, nn.MultiheadAttention)
_BUILT_IN_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
_FEW_CONVOLUTIONS = 3


class Proposal(msgspec.Struct, frozen=True):
    """A place: a module's output, or a span; *why* is one of `RANKS`."""

    entry: str
    exit: str
    why: str


class Proposals(msgspec.Struct, frozen=True):
    """What "auto" chose, best first, and why it did not choose the rest."""

    chosen: tuple[Proposal, ...]
    left: tuple[tuple[str, str], ...]


def propose(model: nn.Module, unfit: Mapping[str, str]) -> Proposals:
    """Rank the places of *model*. *unfit* says why some modules cannot be chosen at all, by name."""
    left = dict(unfit)
    found: list[Proposal] = []
    blocks: dict[str, str] = {}
    for name, module in _named(model):
        if not name or name in left:
            continue
        block = next((outer for outer in blocks if name.startswith(f"{outer}.")), None)
        why = _kind(module, name, model)
        if block is not None:
            left[name] = _inside(module, block, blocks[block])
        elif why in (None, WITHIN):
            left[name] = _unfit(module) if why is None else f"{WITHIN}: name it exactly to grow there"
        else:
            found.append(_over(name, module) if why == MLP else Proposal("", name, why))
            if why not in (LAYER, CONV, TRANSFORMER_LAYER):
                blocks[name] = why
    found += _spans(model)
    ranked = sorted(found, key=lambda proposal: RANKS.index(proposal.why))
    for rank, proposal in enumerate(ranked[AUTO_LIMIT:], AUTO_LIMIT + 1):
        name = f"{proposal.entry} -> {proposal.exit}" if proposal.entry else proposal.exit
        left[name] = f"{proposal.why}, rank {rank}; auto takes the best {AUTO_LIMIT}"
    return Proposals(tuple(ranked[:AUTO_LIMIT]), tuple(left.items()))


def why_not(module: nn.Module) -> str | None:
    """Return why a glob skips *module*, or None if it can carry a seed at its own output."""
    return None if isinstance(module, (*GROWABLE, *TUPLES)) else _unfit(module)


def _kind(module: nn.Module, name: str, model: nn.Module) -> str | None:
    """Return what *module*'s output is, as one of `RANKS`, or `WITHIN`; None if it is no place to grow."""
    outer, _, last = name.rpartition(".")
    if isinstance(model.get_submodule(outer), _BUILT_IN_LAYERS) and isinstance(module, nn.Linear):
        return MLP if last == "linear2" else WITHIN
    if isinstance(module, nn.RNNBase):
        return RECURRENT
    if isinstance(module, nn.MultiheadAttention) or _is_attention(module):
        return ATTENTION
    if isinstance(module, _BUILT_IN_LAYERS):
        return TRANSFORMER_LAYER
    if _is_feed_forward(module):
        return MLP
    if _is_conv_block(module):
        return CONV_BLOCK
    if isinstance(module, nn.Linear):
        return LAYER
    return CONV if isinstance(module, CONVOLUTIONS) else None


def _inside(module: nn.Module, block: str, what: str) -> str:
    if isinstance(module, GROWABLE):
        return f"inside {block}, {what}: name it exactly to grow there"
    return _unfit(module)


def _is_attention(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return ("attention" in name or name.endswith("attn")) and any(
        isinstance(part, nn.Linear) for part in module.modules()
    )


def _is_feed_forward(module: nn.Module) -> bool:
    children = [*module.children()]
    linear = sum(isinstance(child, nn.Linear) for child in children)
    name = type(module).__name__.lower()
    if any(word in name for word in ("mlp", "feedforward", "ffn")):
        return linear > 1
    plain = all(isinstance(child, nn.Linear) or not any(child.children()) for child in children)
    # A stack of layers is a block inside a model; at the top it is the model.
    return isinstance(module, nn.Sequential) and linear == 2 and plain and isinstance(children[-1], nn.Linear)


def _is_conv_block(module: nn.Module) -> bool:
    children = [*module.children()]
    convolutions = sum(isinstance(child, CONVOLUTIONS) for child in children)
    if isinstance(module, nn.Sequential) and convolutions > 1:
        # Stages with pooling between them are several blocks in a row.
        return convolutions <= _FEW_CONVOLUTIONS and all(
            type(child).__module__ != pooling.__name__ for child in children
        )
    return 0 < convolutions <= _FEW_CONVOLUTIONS and convolutions < len(children)


def _over(name: str, block: nn.Module) -> Proposal:
    """Return the feed-forward block's output; or the span over it, if it is narrower inside than on either side."""
    layers = [(inner, layer) for inner, layer in _named(block) if isinstance(layer, nn.Linear)]
    if len(layers) < 2:
        return Proposal("", name, MLP)
    (first, into), (last, out_of) = layers[0], layers[-1]
    narrowest = min(layer.out_features for _, layer in layers[:-1])
    if narrowest >= min(into.in_features, out_of.out_features):
        return Proposal("", name, MLP)
    return Proposal(f"{name}.{first}", f"{name}.{last}", BOTTLENECK)


def _spans(model: nn.Module) -> Iterator[Proposal]:
    """Propose spans: over every layer that is narrower than what it reads and what follows it, and over all."""
    chain = [
        (name, widths)
        for name, module in _named(model)
        if (widths := _widths(module)) is not None and _is_outside(name, model)
    ]
    if len(chain) < 2:
        return
    (first, (given, _)), (last, (_, returned)) = chain[0], chain[-1]
    for (before, (wide, narrow)), (after, (_, out)) in pairwise(chain):
        if narrow < min(wide, out) and (before, after) != (first, last):
            yield Proposal(before, after, BOTTLENECK)
    narrowest = min(out for _, (_, out) in chain[:-1])
    yield Proposal(first, last, BOTTLENECK if narrowest < min(given, returned) else WHOLE)


def _named(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [*cast("Iterable[tuple[str, nn.Module]]", model.named_modules())]


def _is_outside(name: str, model: nn.Module) -> bool:
    """Tell whether the layer is on the model's main path, and not in an attention or feed-forward branch."""
    parts = name.split(".")
    outer = (model.get_submodule(".".join(parts[:depth])) for depth in range(1, len(parts)))
    return not any(
        isinstance(module, (*_BUILT_IN_LAYERS, *TUPLES)) or _is_attention(module) or _is_branch(module)
        for module in outer
    )


def _is_branch(module: nn.Module) -> bool:
    """A block with its own forward, unlike a Sequential, may add to what it reads."""
    return not isinstance(module, nn.Sequential | nn.ModuleList) and any(
        isinstance(part, nn.MultiheadAttention) or _is_attention(part) for part in module.modules()
    )


def _widths(module: nn.Module) -> tuple[int, int] | None:
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, CONVOLUTIONS):
        return module.in_channels, module.out_channels
    return (module.input_size, module.hidden_size) if isinstance(module, nn.RNNBase) else None


def _unfit(module: nn.Module) -> str:
    if any(module.children()) or isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return "a container: name it exactly to grow at its output"
    if isinstance(module, batchnorm._NormBase):  # pyright: ignore[reportPrivateUsage]
        return "a normalisation layer"
    if type(module).__module__ in (instancenorm.__name__, normalization.__name__):
        return "a normalisation layer"
    if isinstance(module, dropout._DropoutNd):  # pyright: ignore[reportPrivateUsage]
        return "a dropout layer"
    if type(module).__module__ == pooling.__name__:
        return "a pooling layer"
    if type(module).__module__ == activation.__name__:
        return "an activation"
    if isinstance(module, nn.RNNCellBase):
        return "a recurrent cell, which runs once per time step: name it exactly to grow at every step"
    return f"not a layer that auto and globs know ({type(module).__name__}): name it exactly to use it"
