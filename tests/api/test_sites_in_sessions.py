"""What a session learns about its sites from the training itself, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import esper
from esper.api.attach import loss_scale
from esper.api.session import Session
from esper.api.slots import Accepted, Rejected
from esper.api.wrap import survey_of
from esper.kasmina.errors import CompiledHost, HostUnseen, SiteUnusable
from esper.kasmina.window import unscaled
from tests.api.hosts import digits
from tests.kasmina.growing_host import hooks


class Rows(nn.Module):
    """Reads an image row by row, time first, as torch's recurrent layers do by default."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 6)
        self.head = nn.Linear(6, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(self.lstm(pixels.view(-1, 8, 8).transpose(0, 1))[0][-1])


def attached(model: nn.Module, folder: Path, said: Callable[[str], None] = lambda _: None) -> Session:
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    return esper.attach(
        model, optimizer, evaluate=digits().score, log="memory", folder=folder, controller=None, say=said
    )


def train(session: Session, model: object, parameters: nn.Module, steps: int = 1) -> None:
    optimizer = torch.optim.SGD(parameters.parameters(), 0.1)
    for index in range(steps):
        rows = slice(16 * index, 16 * index + 16)
        loss = F.cross_entropy(model(digits().train_x[rows]), digits().train_y[rows])  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        session.step(loss)


def test_the_first_training_pass_tells_the_shapes_and_leaves_no_hook(tmp_path: Path):
    model = esper.wrap(Rows(), sites=["lstm", ("lstm", "head")])
    with attached(model, tmp_path) as session:
        assert "not seen yet" in esper.sites_report(model)
        model(digits().train_x[:4])
        assert hooks(model) == 0
        train(session, model, model)
        assert esper.sites_report(model).splitlines() == [
            "slot  site          flows                      why",
            "s0    lstm          sequence 8x6               named by you",
            "s1    lstm -> head  sequence 8x8 -> vector 10  named by you",
        ]
        assert [list(shape.output_size) for shape in survey_of(model).shapes.values()] == [[8, 6], [10]]
        session.end_epoch()


def test_a_pass_without_gradients_does_not_end_the_first_look(tmp_path: Path):
    model = esper.wrap(Rows(), sites=["lstm"])
    with attached(model, tmp_path) as session:
        with torch.no_grad():
            model(digits().train_x[:4])
        assert hooks(model) > 0
        train(session, model, model)
        assert hooks(model) == 0
        session.end_epoch()


@pytest.mark.slow
def test_a_recurrent_layer_grows_in_a_session_and_is_the_host_again_when_its_seed_is_culled(tmp_path: Path):
    torch.manual_seed(0)
    model = esper.wrap(Rows(), sites=["lstm"])
    images = digits().test_x[:32]
    with attached(model, tmp_path) as session:
        train(session, model, model)
        slot = session.slots["lstm"]
        assert isinstance(slot.germinate("BP002"), Accepted)
        train(session, model, model, 6)
        assert slot.stage == "training"
        session.end_epoch()
        slot.blend({**PROMISING, "epochs_in_stage": 2.0}, steps=2)
        assert slot.stage == "blending"
        train(session, model, model, 4)
        grown = model.eval()(images)
        assert isinstance(slot.cull(), Accepted)
        assert not torch.equal(model(images), grown)
        assert hooks(model) == 0
        session.end_epoch()


PROMISING = {
    "r_squared": 0.5,
    "predicted_loss_decrease": 0.1,
    "best_alpha": 1.0,
    "probe_gain": 0.1,
    "nonfinite_batches": 0.0,
    "isolation_violations": 0.0,
    "weights_moved": 1.0,
}


class Pair(nn.Module):
    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return pixels, pixels


def test_a_site_that_was_named_and_cannot_grow_stops_the_first_step(tmp_path: Path):
    model = nn.Sequential(nn.Linear(64, 10), Pair(), nn.Flatten(0))
    model.forward = lambda pixels: model[1](model[0](pixels))[0]  # type: ignore[method-assign]
    esper.wrap(model, sites=["1"])
    with attached(model, tmp_path) as session, pytest.raises(SiteUnusable, match=r"a tuple of 2 .*output=0\)"):
        train(session, model, model)


class Odd(nn.Module):
    """One of its layers is given numbers that no seed can read."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 10)
        self.scale = nn.Linear(1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.first(pixels) * self.scale(pixels.mean().view(1))


def test_a_site_that_auto_found_is_left_out_and_the_session_says_why(tmp_path: Path):
    said: list[str] = []
    model = esper.wrap(Odd(), sites=["*"])
    with attached(model, tmp_path, said.append) as session:
        train(session, model, model)
        assert said == ["site scale is left out: it has 1 dimensions, so that no dimension counts samples"]
        told = session.slots["scale"].germinate("BP002")
        assert isinstance(told, Rejected)
        assert "this site cannot carry a seed: it has 1 dimensions" in told.reason
        assert "cannot be used: it has 1 dimensions" in esper.sites_report(model)
        session.end_epoch()


@pytest.mark.parametrize("probe", [None, torch.zeros(2, 64)], ids=["unseen", "probed"])
def test_a_step_of_another_model_is_refused(tmp_path: Path, probe: Tensor | None):
    model, other = esper.wrap(Rows(), sites=["lstm"], probe=probe), Rows()
    with (
        attached(model, tmp_path) as session,
        pytest.raises(HostUnseen, match=r"train the object that esper.wrap returned"),
    ):
        train(session, other, other)


def test_a_compiled_model_whose_sites_were_not_declared_is_refused_at_the_first_step(tmp_path: Path):
    torch.compiler.reset()
    model = esper.wrap(Rows(), sites=["head"])
    with attached(model, tmp_path) as session, pytest.raises(CompiledHost, match="compiled=True"):
        train(session, torch.compile(model, backend="eager"), model)


def test_a_compiled_model_whose_sites_were_declared_grows(tmp_path: Path):
    torch.compiler.reset()
    model = esper.wrap(Rows(), sites=["head"], compiled=True)
    compiled = torch.compile(model, backend="eager")
    with attached(compiled, tmp_path) as session:  # type: ignore[arg-type]
        train(session, compiled, model, 2)
        assert isinstance(session.slots["head"].germinate("BP002"), Accepted)
        train(session, compiled, model, 4)
        assert session.slots["head"].measured()["weights_moved"] == 1.0
        session.end_epoch()


def test_a_look_at_one_batch_runs_no_hook_of_the_users(tmp_path: Path):
    model = esper.wrap(Rows(), sites=["lstm"])
    counted: list[str] = []
    model.register_forward_hook(lambda *_: counted.append("after"))
    model.lstm.register_forward_pre_hook(lambda *_: counted.append("before"))
    with attached(model, tmp_path) as session:
        session.observe(digits().train_x[:4])
        assert counted == []
        assert "sequence 8x6" in esper.sites_report(model)
        model(digits().train_x[:4])
        assert sorted(counted) == ["after", "before"]
        train(session, model, model)
        session.end_epoch()


def test_the_scaler_among_what_is_saved_says_how_the_loss_is_scaled():
    scaler = torch.amp.GradScaler("cpu", init_scale=32.0)
    scaler.scale(torch.ones(1))
    assert loss_scale({"scaler": scaler, "order": torch.Generator()})() == 32.0
    assert loss_scale({}) is unscaled
    with pytest.raises(ValueError, match="several GradScalers"):
        loss_scale({"one": scaler, "two": torch.amp.GradScaler("cpu")})
