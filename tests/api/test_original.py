"""`unwrap(model, "original")` gives back what the model was when its run began."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import esper
from esper.api.errors import HostMismatch, NotWrapped
from esper.api.loading import read_grown
from esper.api.logs import OpenLog
from esper.api.original import remember
from esper.kasmina.errors import UnwrapRefused
from esper.leyline.v1.run_pb2 import RunStarted
from esper.leyline.v1.seed_pb2 import SeedFossilized
from esper.tolaria.checkpoint import model_sha256
from eventstore.errors import BlobMissing
from tests.api.scripted_log import Run, ScriptedLog

SITES = [("into", "out"), "norm"]


class Tied(nn.Module):
    """A host with running statistics, weights that two layers share, and a hook of its user's."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.norm = nn.Linear(64, 10), nn.BatchNorm1d(10)
        self.inner, self.out = nn.Linear(10, 10), nn.Linear(10, 10)
        self.out.weight = self.inner.weight
        self.seen = 0
        self.norm.register_forward_hook(self.note)

    def note(self, *_: object) -> None:
        self.seen += 1

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.inner(self.norm(self.into(x)))))


def trained(log: ScriptedLog, epochs: int) -> Run:
    return Run(log, model=Tied(), sites=SITES).to(epochs)


def test_structure_weights_buffers_and_modes_are_those_of_the_runs_beginning(log: ScriptedLog):
    run = trained(log, 7)
    run.end()
    (began,) = log.of(RunStarted)
    assert log.of(SeedFossilized)
    assert run.weights != began.facts.model_sha256
    assert esper.unwrap(run.model, "original") is run.model
    assert run.weights == began.facts.model_sha256
    assert run.model.state_dict().keys() == Tied().state_dict().keys()
    assert run.model.out.weight is run.model.inner.weight
    assert run.model.training
    seen = run.model.seen
    run.model(run.data.test_x)
    assert run.model.seen == seen + 1
    assert len(run.model.norm._forward_hooks) == 1
    assert [name for name in run.model.__dict__ if name.startswith("_esper")] == []
    with pytest.raises(NotWrapped):
        esper.unwrap(run.model, "original")


def test_a_resumed_run_and_a_copy_of_its_model_began_where_the_run_began(log: ScriptedLog):
    first = trained(log, 4)
    (began,) = log.of(RunStarted)
    run = Run(log, model=Tied(), sites=SITES, resume=first.session.run_id)
    copied = copy.deepcopy(run.model)
    for model in (copied, run.model):
        assert model_sha256(esper.unwrap(model, "original")) == began.facts.model_sha256


def test_a_loaded_model_knows_where_its_run_began(log: ScriptedLog):
    run = trained(log, 1)
    read = log.read(read_grown(log.memory, run.session.run_id, None))
    fresh = esper.wrap(Tied(), sites=SITES)
    remember(fresh, read.first, OpenLog(log, log.loop, lambda: None), log.place)
    (began,) = log.of(RunStarted)
    assert model_sha256(esper.unwrap(fresh, "original")) == began.facts.model_sha256


def test_a_model_that_was_in_no_run_is_refused_and_stays_wrapped():
    model = esper.wrap(Tied(), sites=SITES)
    with pytest.raises(UnwrapRefused, match="no run recorded what it was"):
        esper.unwrap(model, "original")
    assert esper.unwrap(model, "host") is model


def test_a_lost_checkpoint_leaves_the_model_as_it_is(log: ScriptedLog, tmp_path: Path):
    run = trained(log, 1)
    answers = run.model(run.data.test_x)
    blobs = log.place.folder / "blobs"
    blobs.rename(tmp_path / "elsewhere")
    with pytest.raises(BlobMissing):
        esper.unwrap(run.model, "original")
    assert torch.equal(run.model(run.data.test_x), answers)
    blobs.rmdir()
    (tmp_path / "elsewhere").rename(blobs)
    run.model.out = nn.Linear(10, 3)
    with pytest.raises(HostMismatch, match=r"out\.bias"):
        esper.unwrap(run.model, "original")
