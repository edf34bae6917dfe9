"""A grown model is put together again from the log and the blobs, in a process that never trained it."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

import esper
from esper.api.errors import AttachedAlready, HostMismatch, KernelLost, NothingToLoad
from esper.api.loading import read_grown, rebuild
from esper.api.wrap import SURVEY
from esper.leyline.v1.run_pb2 import CheckpointCommitted
from esper.leyline.v1.seed_pb2 import KernelAttached
from esper.tolaria.checkpoint import model_sha256
from tests.api.scripted_log import FAST, SPAN, Run, ScriptedLog, narrow


def loaded(log: ScriptedLog, model: nn.Module, run: str = "latest", at: int | None = None) -> nn.Module:
    rebuild(model, log.read(read_grown(log.memory, run, at)), log.place)
    return model


def position_of(log: ScriptedLog, epoch: int) -> int:
    return next(
        recorded.position
        for recorded in log.recorded()
        if isinstance(recorded.event, CheckpointCommitted) and recorded.event.checkpoint.at.epoch == epoch
    )


def answers(model: nn.Module, run: Run) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(run.data.test_x)


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("epochs", [4, 8])
def test_a_fresh_host_computes_what_the_grown_model_computed(log: ScriptedLog, epochs: int, wrapped: bool):
    run = Run(log).to(epochs)
    assert run.session.stages[SPAN] == ("blending" if epochs == 4 else "fossilized")
    torch.manual_seed(9)
    fresh = esper.wrap(narrow(), sites=[("0", "2")]) if wrapped else narrow()
    model = loaded(log, fresh)
    assert model is fresh
    assert model_sha256(model) == run.weights
    assert torch.equal(answers(model, run), answers(run.model, run))


def test_a_position_chooses_the_last_checkpoint_up_to_it(log: ScriptedLog):
    run = Run(log, settings=msgspec.structs.replace(FAST, checkpoint_when_kept=False)).to(4)
    then = run.weights
    run.to(8)
    later = position_of(log, 8)
    model = loaded(log, narrow(), run.session.run_id[:20], at=later - 1)
    assert model_sha256(model) == then
    assert model_sha256(loaded(log, narrow(), at=later)) == run.weights


def test_what_a_rollback_abandoned_is_not_loaded_unless_it_is_asked_for(log: ScriptedLog):
    run = Run(log, settings=msgspec.structs.replace(FAST, checkpoint_every_epochs=1)).to(4)
    then = run.weights
    run.to(6)
    abandoned, later = run.weights, position_of(log, 6)
    run.session.rollback(4)
    assert run.weights == then
    assert model_sha256(loaded(log, narrow())) == then
    assert model_sha256(loaded(log, narrow(), at=later)) == abandoned
    run.to(7)
    assert model_sha256(loaded(log, narrow())) == run.weights


def test_a_loaded_model_is_baked_like_any_grown_one(log: ScriptedLog, tmp_path: Path):
    run = Run(log).to(8)
    plain = esper.unwrap(loaded(log, narrow()))
    assert torch.equal(answers(plain, run), answers(run.model, run))
    esper.bake(plain, tmp_path / "baked")


@pytest.mark.parametrize(
    ("host", "what"),
    [
        (narrow(3), "0.bias"),
        (nn.Sequential(nn.Linear(64, 2), nn.Tanh(), nn.Linear(2, 10), nn.Linear(10, 10)), "3.bias"),
        (narrow().double(), "0.bias"),
    ],
)
def test_a_host_of_another_build_is_refused_and_stays_what_it_is(log: ScriptedLog, host: nn.Module, what: str):
    Run(log).to(4)
    before = model_sha256(host)
    with pytest.raises(HostMismatch) as refused:
        loaded(log, host)
    assert refused.value.what == what
    assert model_sha256(host) == before
    assert SURVEY not in host.__dict__


def test_a_host_with_other_sites_is_refused(log: ScriptedLog):
    Run(log).to(4)
    with pytest.raises(HostMismatch, match=r"the list of sites was \['0 -> 2'\] and is \['0'\]"):
        loaded(log, esper.wrap(narrow(), sites=["0"]))


def test_a_model_that_carries_seeds_already_is_refused(log: ScriptedLog):
    run = Run(log).to(8)
    with pytest.raises((AttachedAlready, HostMismatch)):
        loaded(log, run.model)
    again = loaded(log, narrow(), at=position_of(log, 4))
    with pytest.raises(AttachedAlready):
        loaded(log, again)


@pytest.mark.parametrize(("run", "at"), [("latest", None), ("f" * 32, None), ("ab", None)])
def test_there_must_be_a_run(log: ScriptedLog, run: str, at: int | None):
    with pytest.raises(NothingToLoad):
        loaded(log, narrow(), run, at)


def test_there_must_be_a_checkpoint_that_early(log: ScriptedLog):
    Run(log).to(1)
    with pytest.raises(NothingToLoad, match="after position 1"):
        loaded(log, narrow(), at=1)


def test_a_kernel_that_is_gone_is_named_and_the_host_stays_what_it_is(log: ScriptedLog):
    Run(log).to(4)
    kernel_id = log.of(KernelAttached)[0].kernel_id
    (log.place.folder / "blobs" / kernel_id[:2] / kernel_id).unlink()
    host = narrow()
    before = model_sha256(host)
    with pytest.raises(KernelLost):
        loaded(log, host)
    assert model_sha256(host) == before
    assert SURVEY not in host.__dict__


PROGRAM = """
import sys, torch, esper
from esper.tolaria.checkpoint import model_sha256
from tests.api.hosts import narrow
print(model_sha256(esper.load(narrow(3), folder=sys.argv[1])))
"""


@pytest.mark.timeout(180)
def test_a_process_of_its_own_loads_and_bakes_what_another_trained(tmp_path: Path):
    folder, result = tmp_path / ".esper", tmp_path / "result"
    run = [sys.executable, "-m", "tests.journeys.growing_run", str(folder), str(result), "--epochs", "14"]
    trained = subprocess.run(run, check=True, capture_output=True, text=True)
    assert "fossilized" in trained.stdout
    found = subprocess.run([sys.executable, "-c", PROGRAM, str(folder)], check=True, capture_output=True, text=True)
    assert found.stdout.split()[-1] == result.read_text().split()[0]
    baked = tmp_path / "baked"
    command = [sys.executable, "-m", "ops.cli.main", "bake", "latest", "-o", str(baked), "--folder", str(folder)]
    subprocess.run([*command, "--model", "tests.api.hosts:narrow"], check=True, capture_output=True)
    program = "from model import load; import torch; print(load()(torch.zeros(2, 64)).shape)"
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=baked)
    assert ran.stdout.strip() == "torch.Size([2, 10])"
