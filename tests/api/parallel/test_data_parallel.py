"""Two processes that train one model by DistributedDataParallel grow it alike, and as the log says."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import esper
from actors.place import Place
from actors.streams import run_stream
from esper.api.parallel.errors import ParallelRefused
from esper.api.parallel.joining import ranks_of
from esper.kasmina.errors import ModelRefused
from esper.kasmina.ranks import ALONE
from esper.leyline.registry import COMMANDS, EVENTS
from esper.leyline.v1.run_pb2 import CheckpointCommitted, RunFinished
from esper.leyline.v1.seed_pb2 import SeedCulled
from eventstore.oona import open_log
from eventstore.oona.server import LocalServer
from eventstore.store import Recorded
from tests.api.scripted_log import narrow

ROOT = Path(__file__).parents[3]
EPOCHS = "9"


class Training:
    """Both processes of one training, on *server*."""

    def __init__(self, folder: Path, server: LocalServer) -> None:
        self._folder, self._server, self._times = folder, server, 0

    def run(self, *more: str) -> list[dict[str, Any]]:
        """Train; return what each process said last, and its exit code under "code"."""
        self._times += 1
        meet = self._folder / f"rendezvous{self._times}"
        where = [str(meet), str(self._folder / "esper"), self._server.url, "--epochs", EPOCHS, *more]
        ranks = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.api.parallel.one_rank", str(rank), *where],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        said = [rank.communicate(timeout=280)[0] for rank in ranks]
        last = [text.strip().splitlines()[-1] if text.strip() else "" for text in said]
        return [
            {"code": rank.returncode, **(json.loads(line) if line.startswith("{") else {})}
            for rank, line in zip(ranks, last, strict=True)
        ]

    def recorded(self, run_id: str) -> list[Recorded]:
        """Return every event of the run and its seeds."""
        return asyncio.run(self._read(run_id))

    async def _read(self, run_id: str) -> list[Recorded]:
        keys = Place.at(self._folder / "esper").keys
        async with open_log(self._server.url, keys=keys, types=EVENTS, commands=COMMANDS) as oona:
            assert await oona.store.read_stream(run_stream(run_id))
            return [event async for event in oona.store.read_all() if run_id in str(event.stream)]


@pytest.fixture
def training(tmp_path: Path, nats_server: LocalServer) -> Training:
    return Training(tmp_path, nats_server)


def test_two_processes_keep_one_seed_and_cull_one_and_stay_alike_to_the_last_bit(training: Training):
    first, second = training.run()
    assert first["weights"] == second["weights"]
    assert first["stages"] == second["stages"]
    assert first["stages"]["0 -> 4"] == "fossilized"
    events = [recorded.event for recorded in training.recorded(first["run"])]
    (finished,) = [event.summary for event in events if isinstance(event, RunFinished)]
    assert (finished.model_sha256, len(finished.kept), finished.culled) == (first["weights"], 1, 1)
    # It raised in the second process only; the first one decided.
    (culled,) = [event for event in events if isinstance(event, SeedCulled)]
    assert "another rank" in culled.reason
    assert [event.checkpoint.at.epoch for event in events if isinstance(event, CheckpointCommitted)]


@pytest.mark.slow
def test_a_training_of_which_one_process_is_killed_goes_on_to_the_same_weights(
    tmp_path: Path, training: Training, own_nats_server: LocalServer
):
    unkilled, _ = training.run()
    (tmp_path / "again").mkdir()
    again = Training(tmp_path / "again", own_nats_server)
    dead = again.run("--dies-at", "45")
    assert all(rank["code"] and "weights" not in rank for rank in dead)
    assert [rank["weights"] for rank in again.run("--resume")] == [unkilled["weights"]] * 2


@pytest.mark.slow
def test_processes_with_different_scripts_are_refused_in_both(training: Training):
    told = training.run("--odd")
    assert [rank["error"] for rank in told] == ["RanksDiffer"] * 2
    assert all("the list of sites differs" in rank["why"] for rank in told)


@pytest.mark.slow
def test_one_bit_of_difference_stops_both(training: Training):
    told = training.run("--drifts-at", "20")
    assert [rank["error"] for rank in told] == ["RanksDiffer"] * 2
    assert all("the model after epoch 3 differs" in rank["why"] for rank in told)


@pytest.fixture
def alone(tmp_path: Path) -> Any:
    """A process group of one."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_a_group_of_one_process_trains_as_if_there_was_none():
    assert ranks_of(DistributedDataParallel(narrow())) is ALONE


@pytest.mark.usefixtures("alone")
def test_a_static_graph_is_refused_by_name():
    with pytest.raises(ParallelRefused, match="static_graph"):
        ranks_of(DistributedDataParallel(narrow(), static_graph=True))


@pytest.mark.usefixtures("alone")
def test_the_wrapper_itself_cannot_be_given_sites():
    with pytest.raises(ModelRefused, match=r"DistributedDataParallel.*on every rank"):
        esper.wrap(DistributedDataParallel(narrow()), sites=["module.0"])


@pytest.mark.usefixtures("alone")
def test_a_sharded_model_is_refused_by_name():
    from torch.distributed.fsdp import FullyShardedDataParallel

    with pytest.raises(ModelRefused, match="FullyShardedDataParallel"):
        esper.wrap(FullyShardedDataParallel(narrow(), device_id=torch.device("cpu")), sites=["0"])


def test_data_parallel_threads_are_refused_by_name():
    with pytest.raises(ModelRefused, match="DataParallel"):
        esper.wrap(nn.DataParallel(narrow()), sites=["module.0"])
