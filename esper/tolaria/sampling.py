"""An order of the data that can be saved and taken up again, also in the middle of an epoch."""

from collections.abc import Iterator, Mapping, Sized
from typing import Any, cast

import torch
from torch.utils.data import Sampler

# Two seeds share an order only after so many epochs.
EPOCHS_APART = 1_000_003


class ResumableSampler(Sampler[int]):
    """Draws every index once per epoch, in an order that *seed* and the epoch's number decide and nothing else.

    Hand it to a `DataLoader` as its `sampler`, and to `esper.attach` in `stateful`. An epoch begins when the one before
    it was drawn to its end; a new iterator in the middle of one goes on where the last one stopped. What a loader's
    workers have fetched ahead counts as drawn. One iterator at a time.
    """

    def __init__(self, data: Sized, *, seed: int = 0, shuffle: bool = True) -> None:
        self.epoch = 0
        self.drawn = 0
        self._data, self._seed, self._shuffle = data, seed, shuffle

    def __len__(self) -> int:
        """Return how many indices are left in this epoch."""
        return len(self._data) - self.drawn

    def __iter__(self) -> Iterator[int]:
        """Draw what is left of this epoch."""
        for index in self._order()[self.drawn :]:
            self.drawn += 1
            yield index
        self.epoch, self.drawn = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Return where in the data this is."""
        return {"seed": self._seed, "length": len(self._data), "epoch": self.epoch, "drawn": self.drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state_dict` was taken.

        Raises:
            ValueError: it was taken with another seed, or of data of another length: the order would be another.
        """
        for name, own in (("seed", self._seed), ("length", len(self._data))):
            if state[name] != own:
                raise ValueError(f"the sampler's {name} was {state[name]} and is now {own}: give it what it had then")
        self.epoch, self.drawn = int(state["epoch"]), int(state["drawn"])

    def _order(self) -> list[int]:
        if not self._shuffle:
            return list(range(len(self._data)))
        generator = torch.Generator().manual_seed((self._seed * EPOCHS_APART + self.epoch) % 2**63)
        order_N: Any = torch.randperm(len(self._data), generator=generator)
        return cast("list[int]", order_N.tolist())
