"""What flows through a site during a few training batches."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, cast

import msgspec
import torch
from torch import Tensor, nn

from esper.kasmina.doorway import declared
from esper.kasmina.errors import SiteUnusable
from esper.kasmina.layout import speaks_time_first
from esper.kasmina.tap import Crossing, Tap, in_backward
from esper.leyline.v1.enums_pb2 import SiteKind
from esper.leyline.v1.site_pb2 import Site, SiteShape

KINDS = {1: SiteKind.SITE_KIND_VECTOR, 2: SiteKind.SITE_KIND_SEQUENCE, 3: SiteKind.SITE_KIND_IMAGE}
# Three dimensions may be (batch, time, channel) or (time, batch, channel).
AMBIGUOUS = 3
# What one site may hold of large activations, whatever number of samples was asked for.
WINDOW_BYTES = 256 * 2**20

# By what the loss is multiplied before its backward pass (torch.amp.GradScaler).
LossScale: TypeAlias = Callable[[], float]


def unscaled() -> float:
    """Return 1: the loss is differentiated as it is."""
    return 1.0


class Window(msgspec.Struct, frozen=True):
    """Samples of a site's input, and of what the user's loss wished for at its output.

    `gradient` is per sample: the gradient of a mean-reduced loss, times the batch size. Both have the sample first.
    """

    input: Tensor
    gradient: Tensor
    shape: SiteShape

    @property
    def samples(self) -> int:
        """How many samples were seen."""
        return len(self.input)


class Recorder:
    """Watches a site until *limit_samples* samples have been seen; changes nothing and draws nothing.

    `refusal` is set when what flows cannot carry a seed: raising inside the user's forward pass would stop a training
    that is well without us. With *limit_samples* 0 only the shape is learned.
    """

    def __init__(self, model: nn.Module, site: Site, limit_samples: int, loss_scale: LossScale = unscaled) -> None:
        self.refusal: SiteUnusable | None = None
        self._site, self._limit, self._loss_scale = site, limit_samples, loss_scale
        self._model = model
        self._ambiguous = speaks_time_first(model)
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._samples, self._bytes = 0, 0
        self._shape: SiteShape | None = None
        self._outputs: list[object] = []
        # Where the site computes, once that was seen.
        self.device: torch.device | None = None
        self._tap = Tap(model, site, self._look, passing=limit_samples == 0)
        # A declared doorway is the only hook that compiled code has.
        self._handles = [] if declared(model) else [model.register_forward_hook(self._end_forward)]

    @property
    def shape(self) -> SiteShape | None:
        """What flows through the site, known from the first forward pass that is seen."""
        return self._shape

    @property
    def traced(self) -> bool:
        """Whether the model was compiled with this recorder's hooks in it, which therefore see nothing."""
        return self._tap.traced

    def close(self) -> Window | None:
        """Take the hooks off; return what was seen, or None if no gradient came by."""
        self._tap.remove()
        for handle in self._handles:
            handle.remove()
        if self._shape is None or self.refusal is not None or not self._seen:
            return None
        sizes = (self._seen[0][0].shape[1:], self._seen[0][1].shape[1:])
        alike = [pair for pair in self._seen if (pair[0].shape[1:], pair[1].shape[1:]) == sizes]
        inputs = torch.cat([entry for entry, _ in alike])[: self._limit]
        gradients = torch.cat([gradient for _, gradient in alike])[: self._limit]
        return Window(inputs, gradients, self._shape)

    def _end_forward(self, module: nn.Module, args: object, output: object) -> None:
        if self._shape is not None and any(_contains(output, seen) for seen in self._outputs):
            self._shape.at_model_output = True
        self._outputs = []

    def _look(self, crossing: Crossing) -> None:
        if self.refusal is not None:
            return
        try:
            entry, host = self._usable(crossing)
        except SiteUnusable as refusal:
            self.refusal = refusal
            return
        if not in_backward():
            self._outputs.append(crossing.tensor)
        self.device = host.device
        if self._shape is None:
            self._shape = self._shape_of(entry, host)
        if not (torch.is_grad_enabled() and host.requires_grad) or self._full():
            return
        kept, scale = entry.detach().clone(), self._loss_scale()

        def keep(gradient: Tensor) -> None:
            if not self._full():
                self._seen.append((kept, gradient * (len(gradient) / scale)))
                self._samples += len(gradient)
                self._bytes += kept.nbytes + gradient.nbytes

        crossing.on_gradient(keep)

    def _full(self) -> bool:
        return self._samples >= self._limit or self._bytes >= WINDOW_BYTES

    def _usable(self, crossing: Crossing) -> tuple[Tensor, Tensor]:
        label, entry, host = self._site.label, crossing.entry, crossing.host
        if host is None or entry is None:
            raise SiteUnusable(label, crossing.problem)
        for activation, layout in ((host, self._site.layout), (entry, self._entry_layout())):
            if activation.ndim == AMBIGUOUS and not layout and self._ambiguous:
                advice = 'esper.site(..., layout="TBC"), or "BTC" (input_layout for what a span reads)'
                raise SiteUnusable(label, f"some layers put time before the batch: say which is which, {advice}")
        if not (host.is_floating_point() and entry.is_floating_point()):
            raise SiteUnusable(label, f"{entry.dtype} flows in and {host.dtype} out, not floating-point numbers")
        if len(entry) != len(host):
            raise SiteUnusable(label, "its input and output do not share a batch dimension")
        return entry, host

    def _entry_layout(self) -> str:
        return self._site.input_layout if self._site.entry_module else self._site.layout

    def _shape_of(self, entry: Tensor, host: Tensor) -> SiteShape:
        return SiteShape(
            input_kind=_kind(entry),
            input_size=entry.shape[1:],
            output_kind=_kind(host),
            output_size=host.shape[1:],
            dtype=str(self._dtype(host)).removeprefix("torch."),
        )

    def _dtype(self, host: Tensor) -> torch.dtype:
        """A seed has the dtype of the host's weights where autocast lowers that of its activations."""
        if not torch.is_autocast_enabled(host.device.type):
            return host.dtype
        parameters = (*self._tap.exit.parameters(), *self._model.parameters())
        return next((each.dtype for each in parameters if each.is_floating_point()), host.dtype)


def _kind(activation: Tensor) -> SiteKind:
    return KINDS.get(activation.ndim - 1, SiteKind.SITE_KIND_UNSPECIFIED)


def _contains(returned: object, activation: object) -> bool:
    if isinstance(returned, Mapping):
        returned = list(cast("Mapping[object, object]", returned).values())
    if isinstance(returned, list | tuple):
        return any(part is activation for part in cast("Iterable[object]", returned))
    if dataclasses.is_dataclass(returned):
        return any(getattr(returned, field.name) is activation for field in dataclasses.fields(returned))
    return returned is activation
