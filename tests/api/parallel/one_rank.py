"""One of the processes of a data-parallel training, as a user would write it; on a server, with kernels at once.

python -m tests.api.parallel.one_rank RANK RENDEZVOUS FOLDER URL [--resume] [--epochs N]
    [--dies-at STEP] [--drifts-at STEP] [--odd]
"""

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import esper
from actors.loop import BackgroundLoop
from actors.place import Place
from esper.api import attach as attaching
from esper.api.errors import EsperError
from esper.api.logs import OpenLog
from esper.api.session import Session
from esper.leyline.registry import COMMANDS, EVENTS
from esper.tolaria.checkpoint import model_sha256
from eventstore.oona import Oona, connect
from tests.api.scripted_log import FAST, Workbench, few_digits, raises

RANKS = 2
SITES = (("0", "4"), ("2", "4"))


class SharedLog:
    """The server's log, as this process sees it; a request for a kernel is answered at once."""

    durable = True

    def __init__(self, oona: Oona, place: Place) -> None:
        self.store: Any = oona.store
        self.bus = Workbench(self.store, place)


def opened(url: str, place: Place) -> OpenLog:
    loop = BackgroundLoop().start()
    oona = loop.call(connect(url, keys=place.keys, types=EVENTS, commands=COMMANDS), 60)

    def close() -> None:
        loop.call(oona.close(), 60)
        loop.stop()

    return OpenLog(SharedLog(oona, place), loop, close)


def host() -> nn.Sequential:
    """A host that is too narrow, keeps running statistics and draws random numbers."""
    return nn.Sequential(nn.Linear(64, 2), nn.BatchNorm1d(2), nn.Tanh(), nn.Dropout(0.1), nn.Linear(2, 10))


def breaks_one_seed(session: Session) -> None:
    """Make the second slot's seed raise, in this process only, once it is in the forward pass."""
    slot = session._growth.slots["s1"]
    if session.stages["2 -> 4"] == "blending" and session._growth.seeds["s1"].generation == 1:
        slot.module.forward = raises


def train(chosen: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.manual_seed(100 * chosen.odd * chosen.rank)
    data, torch_seed = few_digits(), 7 + chosen.rank
    model = esper.wrap(host(), sites=list(SITES[: 1 if chosen.odd and chosen.rank else 2]))
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(wrapped.parameters(), 1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=400)
    dataset = TensorDataset(data.train_x, data.train_y)
    sampler: Any = DistributedSampler(dataset, seed=3)
    # Each rank draws other dropouts, and a resumed one goes on with its own.
    torch.manual_seed(torch_seed)
    attach = esper.attach(
        wrapped,
        optimizer,
        evaluate=data.score,
        log=chosen.url,
        folder=chosen.folder,
        resume="latest" if chosen.resume else None,
        settings=FAST,
        stateful={"scheduler": scheduler},
        telemetry=False,
    )
    with attach as session:
        for epoch in range(session.epoch, chosen.epochs):
            sampler.set_epoch(epoch)
            model.train()
            for x, y in DataLoader(dataset, batch_size=16, sampler=sampler):
                optimizer.zero_grad()
                with wrapped.no_sync():
                    first = F.cross_entropy(wrapped(x[:8]), y[:8]) / 2
                    first.backward()
                second = F.cross_entropy(wrapped(x[8:]), y[8:]) / 2
                second.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                session.step(first.detach() + second.detach())
                if chosen.rank == 1:
                    breaks_one_seed(session)
                if chosen.rank == 1 and session.global_step == chosen.drifts_at:
                    with torch.no_grad():
                        model[4].bias[0].nextafter_(torch.tensor(1.0))
                if chosen.rank == 1 and session.global_step == chosen.dies_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            session.end_epoch()
    return {"weights": model_sha256(model), "stages": session.stages, "epoch": session.epoch, "run": session.run_id}


def main() -> None:
    """Train, and write what came out as one line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rank", type=int)
    parser.add_argument("rendezvous", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--dies-at", type=int)
    parser.add_argument("--drifts-at", type=int, help="one bit of one weight in rank 1")
    parser.add_argument("--odd", action="store_true", help="rank 1 has another model and other sites")
    parser.add_argument("--epochs", type=int, default=8)
    chosen = parser.parse_args()
    attaching.open_named = opened  # type: ignore[assignment]
    dist.init_process_group("gloo", init_method=f"file://{chosen.rendezvous}", rank=chosen.rank, world_size=RANKS)
    try:
        told = train(chosen)
    except EsperError as error:
        told = {"error": type(error).__name__, "why": str(error)}
    sys.stdout.write("\n" + json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
