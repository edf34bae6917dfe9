"""`esper demo`: the first thing a stranger types."""

from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter
from rich.console import Console

import esper
from actors.stack import StackNotReady
from ops.cli.errors import CommandFailed
from ops.demo.images import load_images
from ops.demo.progress import Progress
from ops.demo.summary import print_summary
from ops.demo.training import Plan, train

INTERRUPTED = 130


def demo(
    *,
    data: str = "digits",
    seed: int = 0,
    epochs: int = 24,
    log: str = "embedded",
    resume: Annotated[bool, Parameter(negative="")] = False,
    folder: Annotated[Path, Parameter(env_var="ESPER_HOME")] = Path(".esper"),
) -> int:
    """Grow a small network on real images, then say what happened and what to type next.

    Args:
        data: digits, fashion-mnist or fashion-mnist:FOLDER.
        seed: Fixes every random draw: two runs with the same seed print the same accuracies.
        epochs: How long to train.
        log: embedded, memory, or the nats:// address of a running stack.
        resume: Continue the newest run where it was interrupted; give the same data, seed and epochs.
        folder: Where the log, the blobs and the projections live.
    """
    # One thread: with more, sums of floats come out in another order and the last digits differ between runs.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    console = Console()
    images = load_images(data, seed)
    console.print(f"data: {images.description}", highlight=False)
    plan = Plan(seed=seed, epochs=epochs, log=log, folder=folder, resume=resume)
    try:
        with Progress(console) as progress:
            outcome = train(images, plan, progress)
    except (esper.EsperError, StackNotReady) as error:
        raise CommandFailed(str(error)) from error
    except KeyboardInterrupt:
        console.print("interrupted. The same command with --resume continues this run", highlight=False)
        return INTERRUPTED
    print_summary(console, images, plan, outcome)
    return 0
