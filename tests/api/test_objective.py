"""A run whose seeds learn from the script's own objective."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import torch.nn.functional as F
from torch import Tensor, nn

from esper.api.errors import BatchMissing, ResumeMismatch
from esper.leyline.v1.run_pb2 import RunStarted
from tests.api.hosts import train_step
from tests.api.scripted_log import FAST, SPAN, STEPS, Run, ScriptedLog

EACH = msgspec.structs.replace(FAST, checkpoint_every_epochs=1)
CALLS: list[int] = []


def objective(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    CALLS.append(1)
    return F.cross_entropy(model(batch[0]), batch[1])


class Objecting(Run):
    """A script that hands its batches over."""

    def __init__(self, log: ScriptedLog, **changes: Any) -> None:
        super().__init__(log, objective=objective, settings=EACH, **changes)

    def steps(self, count: int = STEPS, each: Callable[[Run], None] = lambda run: None) -> None:
        for x, y in list(self.data.batches(32))[:count]:
            self.session.step(train_step(self.model, self.optimizer, x, y), (x, y))
            each(self)


def test_a_run_with_an_objective_grows_and_goes_on_after_a_kill(log: ScriptedLog, tmp_path):
    CALLS.clear()
    unkilled = Objecting(ScriptedLog(tmp_path / "unkilled", log.loop)).to(5)
    # Two epochs in training, of which one step in eight is held out.
    assert len(CALLS) == 2 * (STEPS - 1)
    assert unkilled.session.stages[SPAN] in ("shadowing", "probationary", "blending")
    run = Objecting(log).to(3)
    assert run.session.stages[SPAN] == "training"
    run.steps(3)
    again = Objecting(log, resume="latest").to(5)
    assert again.weights == unkilled.weights
    again.assert_the_log_is_sound()
    (started,) = log.of(RunStarted)
    assert started.facts.objective


def test_a_step_without_its_batch_is_refused_and_not_noted(log: ScriptedLog):
    run = Objecting(log)
    x, y = next(run.data.batches(32))
    with pytest.raises(BatchMissing, match=r"session.step\(loss, batch\)"):
        run.session.step(train_step(run.model, run.optimizer, x, y))
    assert run.session.global_step == 0


def test_a_script_without_the_objective_does_not_go_on_with_the_run(log: ScriptedLog):
    Objecting(log).to(1)
    with pytest.raises(ResumeMismatch, match="whether there is an objective"):
        Run(log, resume="latest", settings=EACH)
