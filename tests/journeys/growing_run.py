"""A training script as a user would write it, for journeys that kill and resume it.

python -m tests.journeys.growing_run FOLDER RESULT [--resume] [--log URL] [--epochs N] [--when-told]
"""

import argparse
import sys
from pathlib import Path

import torch

import esper
from esper.api.errors import NothingToResume, RunFinishedAlready
from esper.api.session import Session
from esper.tolaria.checkpoint import model_sha256
from tests.api.hosts import digits, narrow, train_step


def main() -> None:
    """Train, grow, and write the final weights' digest to RESULT."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--log", default="embedded")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--when-told", action="store_true", help="begin each epoch, and the end, at a line of input")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = esper.wrap(narrow(3), sites=[("0", "2"), "0"])
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 14 * 44)

    def attach(resume: str | None) -> Session:
        return esper.attach(
            model,
            optimizer,
            evaluate=digits().score,
            log=chosen.log,
            folder=chosen.folder,
            resume=resume,
            stateful={"scheduler": scheduler},
        )

    try:
        opened = attach("latest" if chosen.resume else None)
    except (NothingToResume, RunFinishedAlready):
        opened = attach(None)
    with opened as session:
        for _ in range(session.epoch, chosen.epochs):
            if chosen.when_told:
                sys.stdin.readline()
            model.train()
            for x, y in digits().batches():
                loss = train_step(model, optimizer, x, y)
                scheduler.step()
                session.step(loss)
            facts = session.end_epoch()
            print(facts.at.epoch, facts.train_loss, facts.score, session.stages, flush=True)  # noqa: T201
        if chosen.when_told:
            sys.stdin.readline()
    chosen.result.write_text(f"{model_sha256(model)} {session.summary.score if session.summary else None}")


if __name__ == "__main__":
    main()
