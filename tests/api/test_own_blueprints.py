"""A blueprint of one's own, from its registration to the plain network that it has become a part of."""

import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import esper
from actors.urza import run_librarian
from esper.api.errors import BlueprintMissing
from esper.api.loading import read_grown, rebuild
from esper.api.slots import Accepted, Rejected
from esper.karn.errors import ParameterRefused
from esper.karn.own import all_registered, forget, is_own
from esper.leyline.v1.blueprint_pb2 import BlueprintRegistered
from esper.leyline.v1.job_pb2 import CompileJobQueued
from esper.leyline.v1.kernel_pb2 import KernelRegistered
from esper.leyline.v1.seed_pb2 import KernelAttached, SeedFossilized, SeedGerminated
from eventstore.memory import MemoryBus
from tests.api.scripted_log import FAST, SPAN, Run, ScriptedLog, few_digits, narrow
from tests.api.test_retraining import EVERY_THIRD, Again
from tests.architecture.source_tree import ROOT

EPOCHS = 8


class Sine(nn.Module):
    """Down to `rank` features, their sines, and up again."""

    def __init__(self, kind: str, width: int, output_width: int, *, rank: int = 8) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, rank), nn.Linear(rank, output_width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return what to add."""
        return self.up(torch.sin(self.down(x)))


class Cosine(Sine):
    """The same names and shapes, and another function."""

    def forward(self, x: Tensor) -> Tensor:
        """Return what to add."""
        return self.up(torch.cos(self.down(x)))


def register(builder: Callable[..., nn.Module] = Sine) -> None:
    esper.blueprint("sine", kinds=["vector"], bounds={"rank": (1, 32)})(builder)


@pytest.fixture(autouse=True)
def _unregistered() -> Iterator[None]:
    yield
    for own in all_registered():
        forget(own.descriptor.blueprint_id)


@pytest.fixture
def served(log: ScriptedLog) -> Iterator[ScriptedLog]:
    """A log that the real library serves, beside a forge that would not know what to do."""
    register()
    log.bus = MemoryBus(log.memory)  # type: ignore[assignment]
    librarian = log.loop.spawn(run_librarian(log, log.place))
    yield log
    librarian.cancel()


def test_a_controller_grows_it_and_no_other_process_builds_it(served: ScriptedLog, tmp_path: Path):
    run = Run(served, settings=EVERY_THIRD).to(EPOCHS)
    (germinated,) = served.of(SeedGerminated)
    (registered,) = served.of(KernelRegistered)
    (attached,) = served.of(KernelAttached)
    assert (germinated.blueprint_id, len(served.of(SeedFossilized)), served.of(CompileJobQueued)) == ("sine", 1, [])
    assert (registered.kernel_id, registered.job_id) == (attached.kernel_id, "")
    offered = [each.descriptor for each in served.of(BlueprintRegistered) if is_own(each.descriptor.version)]
    assert [each.version for each in offered] == [registered.spec.blueprint_version]
    run.end()
    run.assert_the_log_is_sound()

    assert Again(served).to(EPOCHS).identical

    grown = served.read(read_grown(served.memory, run.session.run_id, None))
    model = narrow()
    rebuild(model, grown, served.place)
    x = few_digits().test_x
    expected = model(x)
    esper.bake(esper.unwrap(model), tmp_path / "baked")
    torch.save((x, expected), tmp_path / "expected.pt")
    code = "import sys, torch, model\nx, y = torch.load(sys.argv[1])\nassert torch.equal(model.load()(x), y)\n"
    code += "assert 'esper' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", code, tmp_path / "expected.pt"], cwd=tmp_path / "baked", check=True)


@pytest.mark.parametrize(
    ("now", "says"), [(None, "no blueprint 'sine' is known here"), (Cosine, "another source of 'sine'")]
)
def test_a_run_goes_on_only_with_the_blueprint_that_it_grew_from(
    served: ScriptedLog, now: Callable[..., nn.Module] | None, says: str
):
    run = Run(served, controller=None, settings=FAST)
    run.session.observe(few_digits().train_x[:8])
    assert isinstance(run.session.slots[SPAN].germinate("sine", rank=4), Accepted)
    run.to(4)
    assert run.session.stages[SPAN] == "training"
    known, run_id = len(served.recorded()), run.session.run_id
    forget("sine")
    if now is not None:
        register(now)
    with pytest.raises(BlueprintMissing, match=says):
        Run(served, resume=run_id, controller=None, settings=FAST)
    with pytest.raises(BlueprintMissing, match=says):
        rebuild(narrow(), served.read(read_grown(served.memory, run_id, None)), served.place)
    assert len(served.recorded()) == known
    forget("sine")
    register()
    again = Run(served, resume=run_id, controller=None, settings=FAST)
    assert again.weights == run.weights
    assert again.to(5).session.stages[SPAN] == "training"


def test_what_it_does_not_allow_is_refused_before_anything_is_recorded(served: ScriptedLog):
    run = Run(served, controller=None, settings=FAST, sites=["0"])
    run.session.observe(few_digits().train_x[:8])
    with pytest.raises(ParameterRefused, match="between 1 and 32"):
        run.session.slots["0"].germinate("sine", rank=33)
    esper.blueprint("elsewhere", kinds=["image"])(convolution)
    told = run.session.slots["0"].germinate("elsewhere")
    assert isinstance(told, Rejected)
    assert told.failed_checks == ("kind_supported",)


def convolution(kind: str, width: int) -> nn.Module:
    layer = nn.Conv2d(width, width, 1, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def test_the_example_keeps_what_it_registers():
    main = runpy.run_path(str(ROOT / "examples" / "own_blueprint.py"))["main"]
    assert main() == ["sine"]
