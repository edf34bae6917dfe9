"""`esper bake`: what a run has grown, as a Python file and a file of tensors that need only torch."""

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

import esper
from actors.stack import StackNotReady
from esper.kasmina.errors import KasminaError
from esper.tolaria.checkpoint import CheckpointBroken
from ops.cli.errors import CommandFailed
from ops.cli.log import place_of
from ops.cli.options import DEFAULTS, Options
from ops.cli.output import print_json, print_line, say


class Baked(msgspec.Struct, frozen=True, kw_only=True):
    """What was written, and where."""

    run: str
    folder: str
    parameters: int


def bake(
    run: str,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    model: str,
    at: int | None = None,
    fold_linear: Annotated[bool, Parameter(negative="")] = False,
    options: Options = DEFAULTS,
) -> None:
    """Write what a run has grown to a folder: model.py and model.safetensors, which need only torch and safetensors.

    Args:
        run: A run's id, the beginning of one, or `latest`.
        output: The folder to write; it must be new or empty.
        model: What builds the host, as the training script does: module:function, called without arguments.
        at: Take the last checkpoint up to this position; the newest if left out.
        fold_linear: Add kept seeds that are linear maps into the layers they follow.
    """
    build = _builder(model)
    place_of(options)
    try:
        grown = esper.load(build(), run, at=at, log=options.log or "embedded", folder=options.folder)
        plain = esper.unwrap(grown, fold_linear=fold_linear)
        esper.bake(plain, output)
    except (esper.EsperError, KasminaError, CheckpointBroken, FileExistsError, StackNotReady) as error:
        raise CommandFailed(str(error)) from error
    written = Baked(run=run, folder=str(output), parameters=sum(own.numel() for own in plain.parameters()))
    if options.json:
        print_json([written])
        return
    print_line(f"{output}: {written.parameters:,} parameters in model.py and model.safetensors")
    say(f"use it: cd {output} && python -c 'from model import load; print(load())'")


def _builder(named: str) -> Any:
    """Return the function that *named* says, looked for in the present folder first, as `python` does."""
    module, _, function = named.partition(":")
    if not module or not function:
        raise CommandFailed(f"--model {named!r} is not module:function")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise CommandFailed(f"--model {named!r} cannot be imported from here: {error}") from error
    finally:
        sys.path.pop(0)
