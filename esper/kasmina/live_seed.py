"""A seed's module with what it needs to learn beside the host: an optimizer and random draws of its own."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from esper.kasmina.blending import Blend
from esper.kasmina.draws import OwnDraws
from esper.kasmina.errors import SeedFault
from esper.kasmina.finite import all_finite
from esper.kasmina.pace import Pace
from esper.kasmina.ranks import ALONE, Ranks
from esper.kasmina.retention import Retention
from esper.kasmina.tap import in_backward
from esper.kasmina.witness import Registered

MAX_GRADIENT_NORM = 1.0
DEFAULT_LEARNING_RATE = 1e-3
# What a module's forward may raise for reasons of its own; a KeyboardInterrupt is none of them.
FAULTS = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError)


class LiveSeed:
    """One seed's module. Its parameters are stepped here only, until they join the host's optimizer."""

    def __init__(
        self,
        module: nn.Module,
        blend: Blend,
        learning_rate: Callable[[], float] | None,
        init_seed: int,
        ranks: Ranks = ALONE,
    ) -> None:
        self._ranks = ranks
        self.module, self.blend, self.init_seed = module, blend, init_seed
        learning = (*module.parameters(), *blend.parameters())
        self.parameters = [parameter for parameter in learning if parameter.requires_grad]
        self.draws = OwnDraws(init_seed)
        self.pace, self.retention, self.registered = Pace(), Retention(), Registered()
        self._learning_rate = learning_rate
        self.frozen, self._group = False, ""
        self.optimizer = self._new_optimizer()

    def _new_optimizer(self) -> AdamW | None:
        if not self.parameters:
            return None
        return AdamW([{"params": self.parameters, "name": self._group}], lr=DEFAULT_LEARNING_RATE)

    def name_group(self, name: str) -> None:
        """Call its group of parameters *name*."""
        self._group = name
        if self.optimizer is not None:
            self.optimizer.param_groups[0]["name"] = name

    def hold_still(self, still: bool) -> None:
        """Let the weights stand still, without an optimizer; or, if they stood still, learn again with a new one."""
        if still == self.frozen:
            return
        self.frozen = still
        self.drop_gradients()
        for parameter in self.parameters:
            parameter.requires_grad_(not still)
        self.optimizer = None if still else self._new_optimizer()

    def to(self, device: torch.device) -> None:
        """Move weights, their gradients and moments to *device*; parameters stay the same objects."""
        for part in (self.module, self.blend):
            part.to(device)
        if self.optimizer is not None:
            for moments in cast("Iterable[dict[str, Any]]", self.optimizer.state.values()):
                for name, value in moments.items():
                    # A step count stays on the CPU, as torch has it.
                    if isinstance(value, Tensor) and name != "step":
                        moments[name] = value.to(device)

    def respond(self, entry: Tensor | None, host: Tensor, *, training: bool) -> Tensor:
        """Return the seed's output for *entry*, fit to be blended with *host*.

        Raises:
            SeedFault: the module raised, or returned something else than finite numbers of *host*'s shape.
        """
        if entry is None:
            raise SeedFault("no_input", "the site's entry did not run before its exit")
        if self.module.training != training:
            self.module.train(training)
        if (first := next(self.module.parameters(), None)) is not None:
            entry = entry.to(first.dtype)
        try:
            with self.draws.on(host.device), self.pace.forward(), self._watched(entry, training=training):
                output = self._output(entry)
        except FAULTS as fault:
            raise SeedFault("raised", f"{type(fault).__name__}: {fault}") from fault
        if not isinstance(output, Tensor) or output.shape != host.shape or output.device != host.device:
            found = f"{tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            raise SeedFault("wrong_shape", f"returned {found} where the host has {tuple(host.shape)}")
        # In the host's precision, in which what was finite may be infinite.
        output = output.to(host.dtype)
        if not all_finite(output):
            raise SeedFault("non_finite", "returned infinite or undefined numbers")
        return output

    def _output(self, entry: Tensor) -> object:
        with self.registered.watch():
            return self.module(entry)

    def _watched(self, entry: Tensor, *, training: bool) -> AbstractContextManager[None]:
        return self.retention.watch(entry) if training and not in_backward() else nullcontext()

    def contribute(self, entry: Tensor, host: Tensor, *, training: bool) -> Tensor:
        """Return what the host's activation would gain from the seed at alpha 1; raises as `respond` does."""
        return self.blend.gain(host, self.respond(entry, host, training=training), entry, 1.0)

    @property
    def steps(self) -> int:
        """How many steps its optimizer has made."""
        states = [] if self.optimizer is None else [*self.optimizer.state.values()]
        return max((int(state["step"]) for state in states if "step" in state), default=0)

    def descend(self, loss_scale: float = 1.0) -> bool:
        """Step along the gradients that are at hand, divided by *loss_scale*, clipped to norm 1, and drop them.

        Where several ranks train, along the means of theirs. Returns whether there was any gradient other than 0.

        Raises:
            SeedFault: they are not finite; nothing has moved.
        """
        if self.optimizer is None:
            return False
        self._ranks.average(self.parameters)
        if all(parameter.grad is None for parameter in self.parameters):
            return False
        if self._learning_rate is not None:
            self.optimizer.param_groups[0]["lr"] = self._learning_rate()
        for parameter in self.parameters:
            if loss_scale != 1.0 and parameter.grad is not None:
                parameter.grad.div_(loss_scale)
        norm = float(nn.utils.clip_grad_norm_(self.parameters, MAX_GRADIENT_NORM))
        finite = math.isfinite(norm)
        # Squares of the smallest numbers are 0.
        felt = norm > 0.0 or any(bool(each.grad.any()) for each in self.parameters if each.grad is not None)
        if finite:
            self.optimizer.step()
        self.drop_gradients()
        if not finite:
            raise SeedFault("non_finite", "its gradient is infinite or undefined")
        return felt

    def drop_gradients(self) -> None:
        """Forget the gradients that no step has used."""
        for parameter in self.parameters:
            parameter.grad = None

    def digest(self) -> str:
        """Return the SHA-256 of the weights' bytes."""
        found = hashlib.sha256()
        for parameter in self.module.parameters():
            found.update(parameter.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return found.hexdigest()

    def tensors(self) -> dict[str, Tensor]:
        """Return a copy of everything that a bit-exact continuation needs: weights, moments, random draws."""
        state: dict[str, Tensor] = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        for index, parameter in enumerate(self.parameters if self.optimizer is not None else []):
            moments: dict[str, Tensor] = self.optimizer.state[parameter] if self.optimizer is not None else {}
            state |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        state |= {f"blend.{name}": value for name, value in self.blend.state_dict().items()}
        state |= {f"draws.{name}": value for name, value in self.draws.tensors().items()}
        return {name: value.detach().clone(memory_format=torch.contiguous_format) for name, value in state.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` returned.

        Raises:
            RuntimeError: names or shapes differ from the module's.
        """
        self.module.load_state_dict(_under(tensors, "module."), strict=True)
        self.blend.load_state_dict(_under(tensors, "blend."), strict=True)
        self.draws.restore(_under(tensors, "draws."))
        if self.optimizer is None:
            return
        state = self.optimizer.state_dict()
        state["state"] = {}
        for index in range(len(self.parameters)):
            moments = _under(tensors, f"optimizer.{index}.")
            if moments:
                state["state"][index] = {name: value.clone() for name, value in moments.items()}
        self.optimizer.load_state_dict(state)


def without_moments(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what `LiveSeed.tensors` gave, for a seed that begins with no memory of earlier gradients."""
    return {name: value for name, value in tensors.items() if not name.startswith("optimizer.")}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
