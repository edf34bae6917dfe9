"""A random stream of a seed's own."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from esper.kasmina.tap import fingerprint, in_backward

# Forward passes whose draws a backward pass may still ask for.
REMEMBERED = 64


class OwnDraws:
    """Random numbers that no other code sees and that move no other code's.

    Whatever is drawn from torch's default generators inside `on` comes from this stream; outside, the default
    generators are where they were.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._states: dict[str, Tensor] = {"cpu": torch.Generator().manual_seed(seed).get_state()}
        self._first: dict[str, dict[str, Tensor]] = {}

    @contextmanager
    def on(self, device: torch.device) -> Generator[None]:
        """Let the code inside draw from this stream, on the CPU and on *device*."""
        generators = {"cpu": torch.default_generator}
        if device.type == "cuda":
            generators["cuda"] = torch.cuda.default_generators[device.index]
            if "cuda" not in self._states:
                self._states["cuda"] = torch.Generator(device).manual_seed(self._seed).get_state()
        outside = {name: generator.get_state() for name, generator in generators.items()}
        try:
            for name, generator in generators.items():
                generator.set_state(self._states[name])
            yield
        finally:
            for name, generator in generators.items():
                self._states[name] = generator.get_state()
                generator.set_state(outside[name])

    @contextmanager
    def again(self, reads: Tensor) -> Generator[None]:
        """Give the code inside the draws that it had when it first read *reads*, if a backward pass is running.

        A checkpointed segment runs a second time in the backward pass and must compute the same again.
        """
        before = dict(self._states)
        if in_backward() and (first := self._first.get(fingerprint(reads))) is not None:
            self._states = dict(first)
            try:
                yield
            finally:
                self._states = before
            return
        yield
        if any(not torch.equal(before[name], state) for name, state in self._states.items() if name in before):
            self._first[fingerprint(reads)] = before
            if len(self._first) > REMEMBERED:
                del self._first[next(iter(self._first))]

    def tensors(self) -> dict[str, Tensor]:
        """Return where the stream stands, by kind of device."""
        return {name: state.clone() for name, state in self._states.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from where `tensors` was read."""
        self._states = {name: state.clone() for name, state in tensors.items()}
