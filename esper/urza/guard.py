"""What a kernel promises about its input, output and weights, and the check of a tensor against that promise."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from esper.leyline.canonical import sha256_hex
from esper.leyline.v1.site_pb2 import SiteShape
from esper.urza.errors import BundleRefused

BATCH = "d0"
# Every kernel takes any batch from 1 to this.
LARGEST_BATCH = 65_536
_NO_BUFFERS = b',"buffers":[]}'


class TensorGuard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor's sizes, where a name stands for a dimension that may vary, and its dtype without torch's prefix."""

    shape: tuple[int | str, ...]
    dtype: str


class ParameterGuard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One learned tensor by its name in the module."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class Guard(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What torch.export found to hold for every call; `ranges` bounds the varying dimensions, both ends included.

    It binds no device and no strides: the eager callable that is served runs on any. `buffers` are the tensors that
    the module keeps and does not learn, as running means; a guard without any is written without them.
    """

    schema: int = 1
    inputs: tuple[TensorGuard, ...]
    outputs: tuple[TensorGuard, ...]
    parameters: tuple[ParameterGuard, ...]
    ranges: dict[str, tuple[int, int]]
    buffers: tuple[ParameterGuard, ...] = ()

    @property
    def parameter_count(self) -> int:
        """How many numbers the kernel learns."""
        total = 0
        for parameter in self.parameters:
            size = 1
            for extent in parameter.shape:
                size *= extent
            total += size
        return total


class TensorLike(Protocol):
    """As much of torch.Tensor as a guard looks at."""

    @property
    def shape(self) -> Sequence[int]: ...

    @property
    def dtype(self) -> object: ...


def guard_bytes(guard: Guard) -> bytes:
    """Return the one byte string that stands for *guard*."""
    data = msgspec.json.encode(guard, order="deterministic")
    return data if guard.buffers else data.removesuffix(_NO_BUFFERS) + b"}"


def guard_digest(guard: Guard) -> str:
    """Return the SHA-256 of *guard*'s bytes. Different blueprints may share it: it is no kernel's identity."""
    return sha256_hex(guard_bytes(guard))


def parse_guard(data: bytes) -> Guard:
    """Return the guard that *data* stands for.

    Raises:
        BundleRefused: `guard_mismatch`; *data* is not a guard in its one form.
    """
    try:
        guard = msgspec.json.decode(data, type=Guard)
    except msgspec.DecodeError as error:
        raise BundleRefused("guard_mismatch", f"the guard is malformed: {error}") from error
    if guard_bytes(guard) != data:
        raise BundleRefused("guard_mismatch", "the guard is not in canonical form")
    return guard


def check_shape(guard: Guard, shape: SiteShape) -> None:
    """Check that *guard* is one for a site of *shape*.

    Raises:
        BundleRefused: `guard_mismatch`.
    """
    wanted_in = (TensorGuard((BATCH, *shape.input_size), shape.dtype),)
    wanted_out = (TensorGuard((BATCH, *shape.output_size), shape.dtype),)
    if (guard.inputs, guard.outputs) != (wanted_in, wanted_out):
        found = f"{guard.inputs} -> {guard.outputs}"
        raise BundleRefused("guard_mismatch", f"the site needs {wanted_in} -> {wanted_out}, the guard says {found}")


def guard_allows(guard: Guard, tensor: TensorLike) -> str | None:
    """Return why the kernel may not be called with *tensor*, or None if it may."""
    expected = guard.inputs[0]
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype != expected.dtype:
        return f"dtype is {dtype}, not {expected.dtype}"
    if len(tensor.shape) != len(expected.shape):
        return f"{len(tensor.shape)} dimensions, not {len(expected.shape)}"
    for place, (size, wanted) in enumerate(zip(tensor.shape, expected.shape, strict=True)):
        low, high = guard.ranges[wanted] if isinstance(wanted, str) else (wanted, wanted)
        if not low <= size <= high:
            return f"dimension {place} is {size}, outside {low}..{high}"
    return None
