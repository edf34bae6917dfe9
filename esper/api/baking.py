"""A grown model written to a folder: one Python file and one file of tensors, which need nothing but torch."""

import keyword
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import torch
from safetensors.torch import save
from torch import Tensor, fx, nn

from esper.api.errors import BakeRefused
from esper.api.layer_source import constructor
from esper.kasmina.planted import SUBMODULE
from esper.kasmina.tracing import hooked

CODE, WEIGHTS = "model.py", "model.safetensors"

_ALLOWED_NAMES = frozenset({"inf", "nan", "NoneType", "torch", "device", "fx_pytree", "pytree", "getattr"})
_HEAD = '''"""A network grown with Esper, as plain PyTorch.

    from model import load
    network = load("model.safetensors")
"""

from math import inf, nan  # noqa: F401 the forward pass may name them
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import device, nn  # noqa: F401


def _put(root, path, value):
    *parents, name = path.split(".")
    for parent in parents:
        if not hasattr(root, parent):
            root.add_module(parent, nn.Module())
        root = getattr(root, parent)
    if isinstance(value, nn.Module):
        root.add_module(name, value)
    elif isinstance(value, nn.Parameter):
        root.register_parameter(name, value)
    else:
        root.register_buffer(name, value)


def _at(root, path):
    for name in path.split("."):
        root = getattr(root, name)
    return root

'''
_TAIL = '''

def load(weights=Path(__file__).with_name("model.safetensors")):
    """Return the network with its weights, in evaluation mode."""
    network = {name}()
    network.load_state_dict(load_file(weights), strict=False)
    return network.eval()
'''


def bake(model: fx.GraphModule, folder: Path) -> None:
    """Write *model*, as `unwrap` returned it, to *folder*: `model.py` and `model.safetensors`.

    `model.py` imports torch and safetensors alone; `load()` in it returns the network. What is written was read back
    and compared before it is put there: the same names, shapes and bits.

    Raises:
        BakeRefused: a layer or a function of its forward pass cannot be written as source; nothing was written.
        FileExistsError: *folder* holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: bake into a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    tensors, source = _own_tensors(model), _source(model)
    with TemporaryDirectory(dir=folder.parent) as temporary:
        draft = Path(temporary) / "draft"
        draft.mkdir()
        (draft / CODE).write_text(source)
        (draft / WEIGHTS).write_bytes(save(tensors))
        _require_same(model, draft)
        if folder.exists():
            folder.rmdir()
        shutil.move(draft, folder)


def _source(model: fx.GraphModule) -> str:
    code = model.graph.python_code("self")
    unknown = sorted(set(code.globals) - _ALLOWED_NAMES)
    if unknown:
        raise BakeRefused(
            f"its forward pass calls {', '.join(unknown)}, which are no functions of torch; return tensors, tuples or "
            "dictionaries, or save the unwrapped model with torch.save instead"
        )
    name = type(model).__name__
    if not name.isidentifier() or keyword.iskeyword(name):
        raise BakeRefused(f"{name!r} is no name for a class")
    lines = [f"class {name}(nn.Module):", "    def __init__(self):", "        super().__init__()"]
    lines += [f"        {line}" for line in _members(model)]
    body = [f"    {line}".rstrip() for line in code.src.strip().splitlines()]
    return _HEAD + "\n" + "\n".join([*lines, "", *body]) + "\n" + _TAIL.format(name=name)


def _members(model: fx.GraphModule) -> Iterator[str]:
    """Yield the statements that put every layer and every bare tensor in its place, in the order of their use."""
    seen: dict[int, str] = {}
    leaves: list[str] = []
    for node in model.graph.nodes:
        if node.op == "call_module" and node.target not in leaves:
            leaves.append(node.target)
            layer = model.get_submodule(node.target)
            if hooked(layer):
                raise BakeRefused(f"{node.target} has a hook of yours, and a file cannot hold it: take it off")
            yield f"_put(self, {node.target!r}, {constructor(node.target, layer)})"
    for name, tensor in _named_tensors(model):
        first = seen.setdefault(id(tensor), name)
        owner, _, attribute = name.rpartition(".")
        if first != name:
            where = f"_at(self, {owner!r})" if owner else "self"
            yield f"{where}.{attribute} = _at(self, {first!r})"
        elif not any(_built_with(leaf, owner) for leaf in leaves):
            yield f"_put(self, {name!r}, {_empty(tensor)})"


def _built_with(leaf: str, owner: str) -> bool:
    """Say whether constructing the layer *leaf* makes what *owner* holds; a kept seed inside it is none of its own."""
    inside = f"{owner}.".removeprefix(f"{leaf}.")
    return inside != f"{owner}." and not any(part.startswith(SUBMODULE) for part in inside.split("."))


def _empty(tensor: Tensor) -> str:
    value = f"torch.empty({tuple(tensor.shape)}, dtype={tensor.dtype})"
    if isinstance(tensor, nn.Parameter):
        return f"nn.Parameter({value}, requires_grad={tensor.requires_grad})"
    return value


def _named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return every tensor once, under its first name: tied ones are tied again by the code."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in _named_tensors(model):
        found.setdefault(id(tensor), (name, tensor))
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.values()}


def _require_same(model: fx.GraphModule, draft: Path) -> None:
    """Run the written file as its reader would, and compare what it loads."""
    module = ModuleType("baked")
    module.__file__ = str(draft / CODE)
    exec(compile((draft / CODE).read_text(), str(draft / CODE), "exec"), module.__dict__)  # noqa: S102 we wrote it
    loaded: nn.Module = module.load()
    ours, theirs = dict(_named_tensors(model)), dict(_named_tensors(loaded))
    if ours.keys() != theirs.keys():
        raise BakeRefused(f"read back, it has other tensors: {', '.join(sorted(ours.keys() ^ theirs.keys()))}")
    for name, tensor in ours.items():
        if tensor.dtype != theirs[name].dtype or not torch.equal(tensor.detach().cpu(), theirs[name].detach()):
            raise BakeRefused(f"read back, {name} is another tensor")
