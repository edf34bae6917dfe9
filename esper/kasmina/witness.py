"""Whether the host is to the bit what it was before a seed's code ran: its gradients, its weights, its hooks.

The same batch's gradients are compared, as they are with the seed and as they were without it: those of a step that is
made anyway, so that nothing of the host runs twice. One pass of a seed in each epoch is witnessed; hooks, in every one.
"""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import cast

import torch
import torch.nn.modules.module as torch_module
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

# A tensor of as many numbers is read by eight bytes at a time; for a smaller one the way there takes longer.
LARGE, WORD_BYTES = 8192, 8
WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
# As many names as a person reads.
NAMED = 3
TABLES = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
TENSOR_TABLES = ("_backward_hooks", "_post_accumulate_grad_hooks")
EVERYWHERE = tuple(getattr(torch_module, f"_global{table}") for table in TABLES)


class Witness:
    """Sees the host before a seed's code runs, and says afterwards what is other than it was."""

    def __init__(self, host: nn.Module) -> None:
        self._host = host
        self._before = _sums(host)

    def changed(self) -> tuple[str, ...]:
        """Name what has changed: weights, buffers and gradients, by sums over their bits. A gradient that was not
        there, or is gone, has changed, too."""
        before, after = self._before, _sums(self._host)
        return tuple(name for name in {**before, **after} if before.get(name) != after.get(name))


class Registered:
    """The hooks that were put on anything while a seed's code ran."""

    def __init__(self) -> None:
        self._ids: list[range] = []

    @contextmanager
    def watch(self) -> Generator[None]:
        """Note the hooks that the code inside registers: torch numbers all of them."""
        began = RemovableHandle.next_id
        try:
            yield
        finally:
            if RemovableHandle.next_id != began:
                self._ids.append(range(began, RemovableHandle.next_id))

    def on(self, host: nn.Module) -> tuple[str, ...]:
        """Name the places of *host* where one of them is; they are then forgotten."""
        ids, self._ids = self._ids, []
        if not ids:
            return ()
        found = [name for name, held in _hooked(host) if any(hook in noted for noted in ids for hook in held)]
        return tuple(dict.fromkeys(found))


def told(names: tuple[str, ...]) -> str:
    """Return *names* for a sentence: the first few, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _hooked(host: nn.Module) -> Iterator[tuple[str, Iterable[int]]]:
    yield from (("every module", table) for table in EVERYWHERE)
    for name, module in cast("Iterable[tuple[str, nn.Module]]", host.named_modules()):
        yield from ((name or "the model", module.__dict__[table]) for table in TABLES)
    for name, parameter in host.named_parameters():
        yield from ((name, getattr(parameter, table) or ()) for table in TENSOR_TABLES)


@torch.no_grad()
def _sums(host: nn.Module) -> dict[str, int]:
    parameters = list(host.named_parameters())
    gradients = ((f"the gradient of {name}", own.grad) for name, own in parameters if own.grad is not None)
    named = dict(chain(parameters, host.named_buffers(), gradients))
    if not named:
        return {}
    sums = [_sum(tensor) for tensor in named.values()]
    # One wait for the device, however many there are.
    return dict(
        zip(named, cast("list[int]", torch.stack([each.to(sums[0].device) for each in sums]).tolist()), strict=True)
    )


def _sum(tensor: Tensor) -> Tensor:
    """Add up the bits of *tensor* as whole numbers, around the clock: if one changes, the sum does."""
    if tensor.is_sparse:
        tensor = tensor.coalesce().values()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if tensor.numel() >= LARGE and tensor.is_contiguous() and tensor.nbytes % WORD_BYTES == 0:
        return tensor.view(-1).view(torch.int64).sum()
    return tensor.view(WHOLE[tensor.element_size()]).sum()
