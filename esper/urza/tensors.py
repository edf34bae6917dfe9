"""A check of the weights part that needs no torch: safetensors is a header and raw numbers, nothing else."""

from collections.abc import Sequence
from typing import TypedDict, cast

from safetensors import SafetensorError
from safetensors import deserialize as _deserialize  # pyright: ignore[reportUnknownVariableType]

from esper.urza.errors import BundleRefused
from esper.urza.guard import ParameterGuard

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64"}


class _Entry(TypedDict):
    shape: list[int]
    dtype: str


def check_weights(data: bytes, expected: Sequence[ParameterGuard]) -> None:
    """Check that *data* holds exactly the tensors of *expected*, by name, shape and dtype.

    Raises:
        BundleRefused: `weights_invalid`.
    """
    try:
        tensors = cast("list[tuple[str, _Entry]]", _deserialize(data))
    except SafetensorError as error:
        raise BundleRefused("weights_invalid", f"not a safetensors file: {error}") from error
    found = {
        name: ParameterGuard(name, tuple(entry["shape"]), _DTYPES.get(entry["dtype"], entry["dtype"]))
        for name, entry in tensors
    }
    wanted = {parameter.name: parameter for parameter in expected}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise BundleRefused("weights_invalid", f"expected {wanted.get(name)}, found {found.get(name)}")
