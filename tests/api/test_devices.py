"""Everything follows the device on which a site computes. Each test runs on the CPU; on a GPU where there is one."""

import msgspec
import pytest
import torch
from torch import Tensor, nn

from esper.api.slots import Accepted
from esper.karn.builders import build
from esper.kasmina.planted import home
from esper.kasmina.room import room_on
from esper.kasmina.transit import Transit
from tests.api.scripted_log import FAST, Run, ScriptedLog, few_digits
from tests.karn.sites import shape
from tests.kasmina.growing_host import BLOCK, Host, ImageSeed, planted, train

GPU = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")],
)
on_each = pytest.mark.parametrize("device", ["cpu", GPU])


class Split(nn.Module):
    """A host whose first layer is on the CPU and whose second is on *device*; its drawn noise comes from there."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(64, 2), nn.Linear(2, 10).to(device)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(torch.tanh(self.into(x)).to(self.out.weight.device))).cpu()


def run_on(device: str, log: ScriptedLog, resume: str | None = None) -> Run:
    """A run with a seed over the span that leads from the one device to the other, germinated by hand."""
    settings = msgspec.structs.replace(FAST, checkpoint_every_epochs=2)
    run = Run(log, model=Split(device), sites=[("into", "out")], controller=None, settings=settings, resume=resume)
    if resume is None:
        run.session.observe(few_digits().train_x[:8])
        assert isinstance(run.session.slots["into -> out"].germinate("BP021", dropout=0.2), Accepted)
    return run


@on_each
def test_a_seed_over_two_devices_lives_where_its_span_ends_and_is_resumed_to_the_bit(log: ScriptedLog, device: str):
    run = run_on(device, log).to(2)
    slot, then = run.session._growth.slots["s0"], run.weights
    assert {slot.device.type, *(each.device.type for each in slot.module.parameters())} == {device}
    run.steps(5)
    later = run.weights
    again = run_on(device, log, run.session.run_id)
    assert again.weights == then
    again.steps(5)
    assert again.weights == later
    live = [one.session._growth.slots["s0"].state()[0] for one in (run, again)]
    assert all(torch.equal(live[0][name], live[1][name]) for name in live[0])


@on_each
def test_a_rollback_brings_back_weights_and_random_streams_of_the_device(log: ScriptedLog, device: str):
    run = run_on(device, log).to(2)
    then, draws = run.weights, drawn(device)
    run.steps(3)
    assert run.weights != then
    assert isinstance(run.session.rollback(2), Accepted)
    assert run.weights == then
    assert torch.equal(drawn(device), draws)
    assert run.session._growth.slots["s0"].device.type == device


def drawn(device: str) -> Tensor:
    """Numbers that the device's generator would give next, without moving it."""
    with torch.random.fork_rng(device_type="cuda"):
        return torch.rand(4, device=device)


@on_each
def test_a_planted_seed_goes_where_its_users_model_goes_with_its_moments(device: str):
    model, seed = Host(), ImageSeed()
    slot = planted(model, BLOCK, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    train(model, optimizer, 4, slots=(slot,))
    before = list(seed.parameters())
    model.to(device)
    images = torch.zeros(8, 1, 8, 8, device=device)
    model(images).sum().backward()
    assert slot.device.type == device
    tensors, _ = slot.state()
    moved = [value for name, value in tensors.items() if name.endswith(("weight", "bias", "gain", "exp_avg"))]
    assert moved
    assert {value.device.type for value in moved} == {device}
    assert all(one is other for one, other in zip(before, seed.parameters(), strict=True))


def test_a_seed_follows_an_activation_with_everything_it_has():
    model, seed = Host(), ImageSeed()
    slot = planted(model, BLOCK, seed)
    train(model, torch.optim.AdamW(model.parameters(), lr=1e-2), 4, slots=(slot,))
    # No second device is needed to see what is moved: "meta" takes tensors in, and gives none back.
    slot._living().follow(torch.device("meta"))
    tensors = [*seed.parameters(), slot._living()._alpha]
    moments = [
        value
        for state in slot._living().seed.optimizer.state.values()
        for name, value in state.items()
        if name != "step"
    ]
    assert moments
    assert {each.device.type for each in (*tensors, *moments)} == {"meta"}


def test_weights_that_are_nowhere_are_no_home():
    model = nn.Sequential(nn.Linear(4, 4, device="meta"), nn.ReLU(), nn.Linear(4, 4))
    assert home(model[1], model) == torch.device("cpu")
    assert home(nn.ReLU(), nn.Linear(4, 4, device="meta")) == torch.device("cpu")


@on_each
def test_a_module_lands_as_it_set_out(device: str):
    module = build("BP009", {}, shape((16, 8, 8)), 3)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    landed = Transit(module, torch.device(device)).landed()
    assert landed is module
    assert {value.device.type for value in module.state_dict().values()} == {device}
    assert all(torch.equal(value.cpu(), before[name]) for name, value in module.state_dict().items())


@on_each
def test_only_a_gpu_says_how_much_room_it_has(device: str):
    room = room_on(torch.device(device))
    assert (room is None) == (device == "cpu")
    assert room is None or 0 < room.free <= room.total
