"""What flows through a site during a few training batches."""

from collections.abc import Callable, Iterable
from typing import cast

import msgspec
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from esper.kasmina.errors import SiteCalledTwice, SiteUnusable
from esper.leyline.v1.enums_pb2 import SiteKind
from esper.leyline.v1.site_pb2 import Site, SiteShape

KINDS = {1: SiteKind.SITE_KIND_VECTOR, 2: SiteKind.SITE_KIND_SEQUENCE, 3: SiteKind.SITE_KIND_IMAGE}
# Their activations are (channels, length), which is not what SITE_KIND_SEQUENCE means.
CHANNELS_FIRST = (nn.Conv1d, nn.ConvTranspose1d, nn.MaxPool1d, nn.AvgPool1d)


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


class Tap:
    """Hooks at a site. *visit* gets what the seed would read (None: the entry has not run) and the site's output.

    What *visit* returns replaces the output; None leaves it the very same tensor.
    """

    def __init__(self, model: nn.Module, site: Site, visit: Callable[[Tensor | None, object], Tensor | None]) -> None:
        self.exit = model.get_submodule(site.exit_module)
        self._visit = visit
        self._entry_input: Tensor | None = None
        self._span = bool(site.entry_module)
        self._handles: list[RemovableHandle] = [self.exit.register_forward_hook(self._on_exit)]
        if self._span:
            entry = model.get_submodule(site.entry_module)
            self._handles.append(entry.register_forward_pre_hook(self._on_entry, with_kwargs=True))

    def remove(self) -> None:
        """Take the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._entry_input = None

    def owns(self, hook: object) -> bool:
        """Tell whether *hook* is one of this tap's."""
        return getattr(hook, "__self__", None) is self

    def _on_entry(self, module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        given = next(iter([*args, *kwargs.values()]), None)
        self._entry_input = given if isinstance(given, Tensor) else None

    def _on_exit(self, module: nn.Module, args: object, output: object) -> Tensor | None:
        if not self._span:
            return self._visit(output if isinstance(output, Tensor) else None, output)
        entry_input, self._entry_input = self._entry_input, None
        return self._visit(entry_input, output)


class Recorder:
    """Watches a site until *limit_samples* samples have been seen; changes nothing and draws nothing."""

    def __init__(self, model: nn.Module, site: Site, limit_samples: int) -> None:
        self._site = site
        self._limit = limit_samples
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._samples = 0
        self._shape: SiteShape | None = None
        self._calls: int | None = None
        self._output: object = None
        self._tap = Tap(model, site, self._look)
        # A layer keeps its activation layout; a plain module named exactly might be either.
        ends = [self._tap.exit, model.get_submodule(site.entry_module or site.exit_module)]
        self._channels_first = any(isinstance(module, CHANNELS_FIRST) for module in ends)
        self._handles = [
            model.register_forward_pre_hook(self._begin_forward),
            model.register_forward_hook(self._end_forward),
        ]

    @property
    def shape(self) -> SiteShape | None:
        """What flows through the site, known from the first forward pass with gradients on."""
        return self._shape

    def close(self) -> Window | None:
        """Take the hooks off; return what was seen, or None if no gradient came by."""
        self._tap.remove()
        for handle in self._handles:
            handle.remove()
        if self._shape is None or not self._seen:
            return None
        sizes = (self._seen[0][0].shape[1:], self._seen[0][1].shape[1:])
        alike = [pair for pair in self._seen if (pair[0].shape[1:], pair[1].shape[1:]) == sizes]
        inputs = torch.cat([entry for entry, _ in alike])[: self._limit]
        gradients = torch.cat([gradient for _, gradient in alike])[: self._limit]
        return Window(inputs, gradients, self._shape)

    def _begin_forward(self, module: nn.Module, args: object) -> None:
        self._calls = 0

    def _end_forward(self, module: nn.Module, args: object, output: object) -> None:
        if self._shape is not None and _contains(output, self._output):
            self._shape.at_model_output = True
        self._calls, self._output = None, None

    def _look(self, entry: Tensor | None, output: object) -> None:
        host = self._usable(entry, output)
        if self._calls is not None:
            self._calls += 1
            self._output = output
            if self._calls > 1:
                raise SiteCalledTwice(self._site.label)
        if entry is None or not (torch.is_grad_enabled() and host.requires_grad) or self._samples >= self._limit:
            return
        if self._shape is None:
            self._shape = self._shape_of(entry, host)
        kept = entry.detach().clone()

        def keep(gradient: Tensor) -> None:
            if self._samples < self._limit:
                self._seen.append((kept, gradient.detach() * len(gradient)))
                self._samples += len(gradient)

        host.register_hook(keep)

    def _usable(self, entry: Tensor | None, output: object) -> Tensor:
        label = self._site.label
        if not isinstance(output, Tensor):
            raise SiteUnusable(label, f"its module returns a {type(output).__name__}, not a tensor")
        if entry is None:
            raise SiteUnusable(label, "its entry does not run before its exit, or is not given a tensor")
        if not (output.is_floating_point() and entry.is_floating_point()):
            raise SiteUnusable(label, f"{entry.dtype} flows in and {output.dtype} out, not floating-point numbers")
        if output.ndim < 2 or len(entry) != len(output):
            raise SiteUnusable(label, "its input and output do not share a batch dimension")
        return output

    def _shape_of(self, entry: Tensor, host: Tensor) -> SiteShape:
        return SiteShape(
            input_kind=self._kind(entry),
            input_size=entry.shape[1:],
            output_kind=self._kind(host),
            output_size=host.shape[1:],
            dtype=str(host.dtype).removeprefix("torch."),
        )

    def _kind(self, activation: Tensor) -> SiteKind:
        if self._channels_first and activation.ndim == 3:
            return SiteKind.SITE_KIND_UNSPECIFIED
        return KINDS.get(activation.ndim - 1, SiteKind.SITE_KIND_UNSPECIFIED)


def _contains(returned: object, activation: object) -> bool:
    if isinstance(returned, dict):
        returned = list(cast("dict[object, object]", returned).values())
    if isinstance(returned, list | tuple):
        return any(part is activation for part in cast("Iterable[object]", returned))
    return returned is activation
