"""The demo's training: an ordinary loop, with the four calls that make the network grow."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import cast

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import esper
from esper.leyline.v1.run_pb2 import RunSummary
from ops.demo.accuracy import accuracy
from ops.demo.endings import Ending, Endings
from ops.demo.images import Images, Part
from ops.demo.network import SITES, SmallNet
from ops.demo.progress import Progress

SMALL_BATCH, BATCH, SMALL_DATA = 32, 128, 4_000
LEARNING_RATE = 5e-3


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo was asked to do."""

    seed: int
    epochs: int
    log: str
    folder: Path
    resume: bool


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; every number was measured in this run."""

    run_id: str
    summary: RunSummary
    events_written: int
    test_accuracy: float
    endings: tuple[Ending, ...]
    site_labels: dict[str, str]
    grown: nn.Module


def train(images: Images, plan: Plan, progress: Progress) -> Outcome:
    """Train a `SmallNet` on *images*, let it grow, and return it as plain PyTorch with what was measured."""
    torch.manual_seed(plan.seed)
    net = SmallNet(images.image_size)
    endings = Endings()
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE)

    model = esper.wrap(net, sites=SITES)
    with esper.attach(
        model,
        optimizer,
        evaluate=partial(accuracy, part=images.held_out),
        log=plan.log,
        folder=plan.folder,
        resume="latest" if plan.resume else None,
        seed=plan.seed,
        data=images.description,
        say=progress.say,
    ) as session:
        progress.start(session.run_id, session.epoch, plan.epochs)
        for epoch in range(session.epoch, plan.epochs):
            for images_NCHW, labels_N in batches(images.train, plan.seed, epoch):
                loss = F.cross_entropy(model(images_NCHW), labels_N)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                session.step(loss)
            facts = session.end_epoch()
            slots = {label: slot.seed for label, slot in session.slots.items()}
            progress.epoch_ended(facts, endings.look(facts.at.epoch, slots))
    grown = esper.unwrap(model)

    return Outcome(
        run_id=session.run_id,
        summary=cast("RunSummary", session.summary),
        events_written=session.events_written,
        test_accuracy=accuracy(grown, images.test)["score"],
        endings=tuple(endings),
        site_labels={slot.seed_id: label for label, slot in session.slots.items()},
        grown=grown,
    )


def batches(part: Part, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield *part* in mini-batches, in an order that only *seed* and *epoch* decide: a resumed run sees the same."""
    order_N: Tensor = torch.randperm(len(part), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))
    size = SMALL_BATCH if len(part) < SMALL_DATA else BATCH
    for start in range(0, len(part), size):
        chosen = order_N[start : start + size]
        yield part.images_NCHW[chosen], part.labels_N[chosen]
