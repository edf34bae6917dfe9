"""Weights from verified bytes into a module, strictly."""

import torch
from safetensors.torch import load
from torch import nn

from esper.urza.errors import BundleRefused


def load_weights(module: nn.Module, data: bytes) -> None:
    """Copy the tensors in *data* into *module*: every name, shape and dtype must agree, every number be finite.

    Raises:
        BundleRefused: `weights_invalid`; the module is as it was.
    """
    given, own = load(data), module.state_dict()
    for name in sorted(given.keys() | own.keys()):
        if name not in given or name not in own:
            raise BundleRefused("weights_invalid", f"{name} is {'missing' if name in own else 'not in the module'}")
        theirs, ours = given[name], own[name]
        if (theirs.shape, theirs.dtype) != (ours.shape, ours.dtype):
            found, wanted = (f"{tuple(one.shape)} {one.dtype}" for one in (theirs, ours))
            raise BundleRefused("weights_invalid", f"{name} is {found}, not {wanted}")
        if not bool(torch.isfinite(theirs).all()):
            raise BundleRefused("weights_invalid", f"{name} holds numbers that are not finite")
    module.load_state_dict(given, strict=True)
