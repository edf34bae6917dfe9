"""A module on its way to the device where it will be planted."""

import torch
from torch import Tensor, nn


class Transit:
    """Moves *module* to *device*; to a GPU on a stream of its own, so that the training's own goes on meanwhile.

    The module is anybody's again after `landed`, and nobody's before.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._module, self._device = module, device
        self._arrived: torch.Event | None = None
        if device.type != "cuda":
            module.to(device)
            return
        stream = torch.cuda.Stream(device)
        # Tensors that are not pinned would be copied while this thread waits.
        for tensor in self._tensors():
            tensor.data = tensor.data.pin_memory()
        with torch.cuda.stream(stream):
            module.to(device, non_blocking=True)
            self._arrived = stream.record_event()

    def landed(self) -> nn.Module:
        """Return the module for use: on a GPU the training's stream waits for it, and this thread does not."""
        if self._arrived is not None:
            training = torch.cuda.current_stream(self._device)
            training.wait_event(self._arrived)
            for tensor in self._tensors():
                # They were allocated on the other stream, which must not give them away while this one uses them.
                tensor.data.record_stream(training)
        return self._module

    def _tensors(self) -> list[Tensor]:
        return [*self._module.parameters(), *self._module.buffers()]
