"""Every host of the zoo grows undisturbed, is killed and resumed to the same weights, and is baked to plain torch."""

import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from actors.place import Place
from actors.stack import down, up
from esper.api.session import Session
from esper.tolaria.checkpoint import model_sha256
from tests.journeys.zoo import life
from tests.journeys.zoo.life import BLEND, GERMINATE, Training, grow, named
from tests.journeys.zoo.zoo import ZOO
from tests.kasmina.growing_host import hooks

# The others are run with -m slow.
IN_CI = ("resnet", "lstm")
HOSTS = [pytest.param(name, marks=() if name in IN_CI else pytest.mark.slow) for name in ZOO]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place with a running stack, for all hosts: its forge stays warm."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    place = Place.at(tmp_path_factory.mktemp("esper"))
    up(place)
    yield place.folder
    down(place)
    torch.set_num_threads(threads)


class Twin:
    """The host without Esper, with random streams of its own; it is trained as far as it is asked for."""

    def __init__(self, name: str) -> None:
        with torch.random.fork_rng():
            self._training = Training(ZOO[name])
            self._random = torch.random.get_rng_state()
        self._training.compile()
        self._epochs = 0
        self.hooks = hooks(self._training.model)

    def state(self, epochs: int) -> dict[str, Tensor]:
        """Return what the host is after so many epochs."""
        with torch.random.fork_rng():
            torch.random.set_rng_state(self._random)
            for _ in range(self._epochs, epochs):
                self._training.epoch(lambda _: None)
            self._epochs, self._random = epochs, torch.random.get_rng_state()
            return self._training.state()


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Name what is not the same to the last bit."""
    return sorted(one.keys() ^ other.keys()) + [key for key in one if not torch.equal(one[key], other[key])]


def undisturbed(stages: list[dict[str, str]], twin: Twin, session: Session, training: Training) -> None:
    """Compare the wrapped host with a bare one after 100 dormant steps, and after 75 more with two seeds TRAINING."""
    stages.append(session.stages)
    if session.epoch == GERMINATE:
        assert training.host.compiled or hooks(training.model) == twin.hooks
        assert set(session.stages.values()) == {"dormant"}
    if session.epoch == BLEND:
        assert set(session.stages.values()) == {"training"}
        assert all(slot.measured()["weights_moved"] for slot in session.slots.values())
    if session.epoch in (GERMINATE, BLEND):
        assert differing(training.state(), twin.state(session.epoch)) == []


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.timeout(600)
def test_a_host_of_the_zoo_grows_is_killed_resumed_and_baked(name: str, folder: Path, tmp_path: Path):
    host, stages = ZOO[name], list[dict[str, str]]()
    training, twin = Training(host), Twin(name)
    session = grow(training, folder, watch=partial(undisturbed, stages, twin))
    at = {stage[host.kept.label]: stage[host.culled.label] for stage in stages}
    assert at["blending"] == "training"
    assert at["fossilized"] in ("culled", "embargoed", "resetting", "dormant")
    assert session.summary is not None
    assert [(kept.seed_id, kept.parameters > 0) for kept in session.summary.kept] == [("s0", True)]
    assert session.summary.culled == 1

    killed = lived(name, folder, tmp_path, "--kill-at", str(host.kill_at_step))
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    resumed = lived(name, folder, tmp_path, "--resume")
    assert resumed.returncode == 0, resumed.stdout
    assert (tmp_path / "weights").read_text() == model_sha256(training.model)
    refused = (tmp_path / "refused").read_text() if (tmp_path / "refused").exists() else ""
    assert refused.startswith(host.refused)
    assert bool(refused) == bool(host.refused)
    computes_the_same(training, tmp_path)


def lived(name: str, folder: Path, results: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    """Run the host's life in a process of its own."""
    command = [sys.executable, "-m", life.__name__, name, str(folder), str(results), *more]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)


def computes_the_same(training: Training, results: Path) -> None:
    """The unwrapped model, and the one read from what was written, give what the grown one gave within 1e-6."""
    said = load_file(results / "outputs.safetensors")
    with torch.no_grad():
        said |= named("read", read(results)(*training.shown()))
    grown = {key.removeprefix("grown."): value for key, value in said.items() if key.startswith("grown.")}
    for key, value in grown.items():
        for kind in ("plain", "read"):
            assert (said[f"{kind}.{key}"] - value).abs().max() <= 1e-6, (kind, key)


def read(results: Path) -> nn.Module:
    """Return the model that was baked, or, where that was refused, saved with torch."""
    if not (results / "baked").exists():
        return torch.load(results / "plain.pt", weights_only=False)
    load: Callable[[Path], nn.Module] = runpy.run_path(str(results / "baked" / "model.py"))["load"]
    return load(results / "baked" / "model.safetensors")
