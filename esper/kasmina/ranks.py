"""Processes that train copies of one model on different data (data parallel), as a seed sees them."""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from esper.kasmina.tap import Removable


class Ranks(Protocol):
    """The processes of one training. Every rank makes the same calls in the same order, or all of them wait."""

    @property
    def number(self) -> int:
        """Which of them this is; 0 decides."""
        ...

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums of *numbers* over all ranks."""
        ...

    def average(self, parameters: Sequence[Tensor]) -> None:
        """Replace the gradients of *parameters* by their means over all ranks; what no rank has stays absent."""
        ...

    def keep_alike(self, parameters: Sequence[Tensor]) -> list[Removable]:
        """Average the gradients of *parameters* in every backward pass to come, until what is returned is removed."""
        ...


class Alone:
    """One process."""

    number, count = 0, 1

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Return *numbers*."""
        return list(numbers)

    def average(self, parameters: Sequence[Tensor]) -> None:
        """Leave the gradients as they are."""

    def keep_alike(self, parameters: Sequence[Tensor]) -> list[Removable]:
        """Do nothing."""
        return []


ALONE = Alone()


class ProcessRanks:
    """The processes of a `torch.distributed` group that nobody else uses."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self._group = group
        self.number, self.count = dist.get_rank(group), dist.get_world_size(group)

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums of *numbers* over all ranks."""
        sums = torch.tensor(list(numbers), dtype=torch.float64)
        dist.all_reduce(sums, group=self._group)
        return [float(each) for each in sums]

    def average(self, parameters: Sequence[Tensor]) -> None:
        """Replace the gradients of *parameters* by their means over all ranks; what no rank has stays absent."""
        known = self.total([float(parameter.grad is not None) for parameter in parameters])
        for parameter, ranks in zip(parameters, known, strict=True):
            if not ranks:
                continue
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            self._mean(parameter.grad)

    def keep_alike(self, parameters: Sequence[Tensor]) -> list[Removable]:
        """Average the gradients of *parameters* in every backward pass to come, until what is returned is removed."""

        def alike(parameter: Tensor) -> None:
            if parameter.grad is not None:
                self._mean(parameter.grad)

        return [parameter.register_post_accumulate_grad_hook(alike) for parameter in parameters]

    def told(self, word: bytes) -> bytes:
        """Return the *word* of rank 0; what the others give is not looked at."""
        length = torch.tensor([len(word)], dtype=torch.int64)
        dist.broadcast(length, group_src=0, group=self._group)
        content = torch.frombuffer(bytearray(word or b"-"), dtype=torch.uint8)
        if self.number:
            content = torch.empty(int(length), dtype=torch.uint8)
        if int(length):
            dist.broadcast(content, group_src=0, group=self._group)
        return content.numpy().tobytes() if int(length) else b""

    def heard(self, word: bytes) -> list[bytes]:
        """Return the words of all ranks, in their order."""
        lengths = [int(each) for each in self._gathered(torch.tensor([len(word)], dtype=torch.int64))]
        padded = torch.frombuffer(bytearray(word.ljust(max(*lengths, 1), b"\0")), dtype=torch.uint8)
        words = self._gathered(padded)
        return [content[:length].numpy().tobytes() for content, length in zip(words, lengths, strict=True)]

    def same_buffers(self, buffers: Sequence[Tensor]) -> None:
        """Give all ranks the *buffers* of rank 0."""
        for buffer in buffers:
            dist.broadcast(buffer, group_src=0, group=self._group)

    def leave(self) -> None:
        """Wait until all ranks are here, and give the group back."""
        dist.barrier(self._group)
        dist.destroy_process_group(self._group)

    def _gathered(self, own: Tensor) -> list[Tensor]:
        found = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(found, own, group=self._group)
        return found

    def _mean(self, gradient: Tensor) -> None:
        dist.all_reduce(gradient, group=self._group)
        gradient.div_(self.count)
