"""Proof that a seed's own training cannot reach the host."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from esper.kasmina.draws import OwnDraws
from esper.kasmina.undisturbed import undisturbed


def shared_parameters(seed: nn.Module, host: nn.Module) -> int:
    """Count the parameters that *seed* and *host* have in common."""
    return len({id(parameter) for parameter in seed.parameters()} & {id(parameter) for parameter in host.parameters()})


def strangers(loss: Tensor, owned: Iterable[Tensor]) -> list[Tensor]:
    """Return the leaves that a backward pass from *loss* would reach beside those *owned*.

    The autograd graph is walked to its ends, so that a parameter counts whether or not the seed registered it, and
    whether or not its gradient happens to be zero today.
    """
    known = {id(tensor) for tensor in owned}
    found: dict[int, Tensor] = {}
    seen: set[object] = set()
    edge = loss.grad_fn
    pending = [] if edge is None else [edge]
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, Tensor) and id(leaf) not in known:
            found[id(leaf)] = leaf
        pending.extend(following for following, _ in node.next_functions if following is not None)
    return list(found.values())


def violations(seed: nn.Module, host: nn.Module, example: Tensor) -> int:
    """Count how many parameters tie *seed* to *host*: those they share, and those a backward pass would reach.

    The seed runs once on *example*, undisturbed and with draws of its own.
    """
    with undisturbed(seed), OwnDraws(0).on(example.device), torch.enable_grad():
        output = seed(example.detach())
        reached = strangers(output.sum(), seed.parameters()) if isinstance(output, Tensor) else []
    return shared_parameters(seed, host) + len(reached)
