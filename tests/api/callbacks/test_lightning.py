"""A LightningModule grows under Lightning's Trainer on real digits."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import esper
from esper.api.callbacks.errors import TrainerRefused
from esper.leyline.v1.run_pb2 import EpochEnded, RunFinished
from esper.tolaria.checkpoint import model_sha256
from tests.api.callbacks.loops import Dies, Killed, lives_in, terms
from tests.api.scripted_log import ScriptedLog, few_digits, narrow

lightning = pytest.importorskip("pytorch_lightning", reason="pip install 'esper-growth[lightning]' runs these")
callback = pytest.importorskip("esper.api.callbacks.lightning")

EPOCHS = 7
DATA = few_digits()


class Host(lightning.LightningModule):
    def __init__(self, *, manual: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = narrow()
        self.automatic_optimization = not manual

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, index: int) -> Tensor:
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", F.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), 1e-2)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)]


class DiesInside(lightning.Callback):
    def __init__(self, at: int | None) -> None:
        self._dies = Dies(at)

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self._dies.step()


class Training:
    """One process's training of a run on *log*; an epoch has 16 batches and 8 steps."""

    def __init__(self, log: ScriptedLog, folder: Path, *, dies: int | None = None, **changes: Any) -> None:
        self.growth = callback.Growth(evaluate=DATA.score, **terms(log, resume=changes.pop("resume", None)))
        self.module = esper.wrap(Host(manual=changes.pop("manual", False)), sites=[("net.0", "net.2")])
        given = {"max_epochs": EPOCHS, "accumulate_grad_batches": 2, "gradient_clip_val": 1.0, "logger": False}
        given |= {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "devices": 1}
        callbacks = [self.growth, DiesInside(dies)]
        self.trainer = lightning.Trainer(default_root_dir=folder, callbacks=callbacks, **(given | changes))

    def run(self, **fit: Any) -> str:
        """Train; return the digest of the weights at the end."""
        torch.manual_seed(1)
        loader = DataLoader(TensorDataset(DATA.train_x, DATA.train_y), batch_size=16, shuffle=True)
        held_out = DataLoader(TensorDataset(DATA.test_x, DATA.test_y), batch_size=100)
        self.trainer.fit(self.module, loader, held_out, **fit)
        return model_sha256(self.module)


@pytest.fixture(autouse=True)
def lasting(log: ScriptedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    lives_in(log, monkeypatch)


def test_a_seed_is_grown_and_kept_and_every_accumulated_step_counts_once(log: ScriptedLog, tmp_path: Path):
    training = Training(log, tmp_path)
    training.run()
    (finished,) = log.of(RunFinished)
    assert (finished.summary.germinated, len(finished.summary.kept)) == (1, 1)
    assert [event.facts.steps for event in log.of(EpochEnded)] == [8] * EPOCHS
    assert finished.summary.at.step == training.trainer.global_step == 8 * EPOCHS
    assert training.growth.session is None


@pytest.mark.parametrize("batch", [3, 75, 95])
def test_a_killed_trainer_goes_on_to_the_same_weights(log: ScriptedLog, tmp_path: Path, batch: int):
    unkilled = Training(log, tmp_path / "a").run()
    with pytest.raises(Killed):
        Training(log, tmp_path / "b", dies=batch).run()
    again = Training(log, tmp_path / "b", resume="latest")
    assert again.run() == unkilled
    first, second = log.of(RunFinished)
    assert first.summary.at == second.summary.at
    assert again.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0)


def test_the_recorded_loss_is_the_one_that_lightning_logs(log: ScriptedLog, tmp_path: Path):
    training = Training(log, tmp_path, max_epochs=1)
    training.run()
    logged = float(training.trainer.callback_metrics["train_loss"])
    assert log.of(EpochEnded)[0].facts.train_loss == pytest.approx(logged, rel=1e-5)


def test_bfloat16_works(log: ScriptedLog, tmp_path: Path):
    Training(log, tmp_path, precision="bf16-mixed").run()
    (finished,) = log.of(RunFinished)
    assert finished.summary.germinated == 1


def test_manual_optimization_is_refused_by_name(log: ScriptedLog, tmp_path: Path):
    with pytest.raises(TrainerRefused, match="manual optimization"):
        Training(log, tmp_path, manual=True, accumulate_grad_batches=1, gradient_clip_val=None).run()
    assert not log.recorded()


def test_a_checkpoint_of_lightnings_own_is_refused(log: ScriptedLog, tmp_path: Path):
    first = Training(log, tmp_path, max_epochs=1)
    first.run()
    first.trainer.save_checkpoint(tmp_path / "own.ckpt")
    with pytest.raises(TrainerRefused, match="resume="):
        Training(log, tmp_path, max_epochs=2).run(ckpt_path=tmp_path / "own.ckpt")
