"""A tiny Vision Transformer, made from a config, grows under the Trainer of transformers on real digits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import esper
from esper.api.callbacks.errors import LossUnseen, TrainerAstray, TrainerRefused
from esper.leyline.v1.run_pb2 import EpochEnded, RunFinished
from esper.tolaria.checkpoint import model_sha256
from tests.api.callbacks.loops import Dies, Killed, lives_in, terms
from tests.api.scripted_log import ScriptedLog, few_digits

transformers = pytest.importorskip("transformers", reason="pip install 'esper-growth[hf]' runs these")
hugging_face = pytest.importorskip("esper.api.callbacks.hugging_face")

EPOCHS = 7
SITE = ("vit.layers.0", "classifier")
DATA = few_digits()


class Digits(torch.utils.data.Dataset[dict[str, Tensor]]):
    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        self.pixels, self.labels = pixels.view(-1, 1, 8, 8), labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixel_values": self.pixels[index], "labels": self.labels[index]}


class DiesInside(transformers.TrainerCallback):
    def __init__(self, at: int | None) -> None:
        self._dies = Dies(at)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._dies.step()


def vit() -> nn.Module:
    torch.manual_seed(0)
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(
            image_size=8,
            patch_size=4,
            num_channels=1,
            hidden_size=8,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=8,
            num_labels=10,
            hidden_dropout_prob=0.1,
        )
    )


def accuracy(model: nn.Module) -> dict[str, float]:
    with torch.no_grad():
        found: Any = model(pixel_values=DATA.test_x.view(-1, 1, 8, 8), labels=DATA.test_y)
    return {"score": float((found.logits.argmax(1) == DATA.test_y).double().mean()), "loss": float(found.loss)}


class Training:
    """One process's training of a run on *log*."""

    def __init__(self, log: ScriptedLog, folder: Path, *, dies: int | None = None, **changes: Any) -> None:
        resume = changes.pop("resume", None)
        self.growth = hugging_face.Growth(evaluate=accuracy, **terms(log, resume=resume))
        given = {
            "output_dir": str(folder),
            "num_train_epochs": EPOCHS,
            "per_device_train_batch_size": 16,
            "gradient_accumulation_steps": 2,
            "learning_rate": 1e-2,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 3,
            "eval_strategy": "epoch",
            "save_strategy": "epoch",
            "save_only_model": True,
            "report_to": [],
            "disable_tqdm": True,
            "use_cpu": True,
            "logging_strategy": "no",
            "dataloader_pin_memory": False,
        }
        more = changes.pop("more", {})
        self.trainer = transformers.Trainer(
            model=esper.wrap(vit(), sites=[SITE]),
            args=transformers.TrainingArguments(**(given | changes)),
            train_dataset=Digits(DATA.train_x, DATA.train_y),
            eval_dataset=Digits(DATA.test_x, DATA.test_y),
            callbacks=[self.growth, DiesInside(dies)],
            **more,
        )

    def run(self) -> str:
        """Train; return the digest of the weights at the end."""
        self.trainer.train(resume_from_checkpoint=self.growth.checkpoint())
        return model_sha256(self.trainer.model)


@pytest.fixture(autouse=True)
def lasting(log: ScriptedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    lives_in(log, monkeypatch, hugging_face)


def test_a_seed_is_grown_and_kept_and_every_accumulated_step_counts_once(log: ScriptedLog, tmp_path: Path):
    training = Training(log, tmp_path)
    training.run()
    (finished,) = log.of(RunFinished)
    assert (finished.summary.germinated, len(finished.summary.kept)) == (1, 1)
    assert [event.facts.steps for event in log.of(EpochEnded)] == [8] * EPOCHS
    assert finished.summary.at.step == training.trainer.state.global_step
    assert not any(module._forward_hooks for module in vit().modules())
    assert training.growth.session is None


@pytest.mark.parametrize("step", [3, 21, 45])
def test_a_killed_trainer_goes_on_to_the_same_weights(log: ScriptedLog, tmp_path: Path, step: int):
    unkilled = Training(log, tmp_path / "a").run()
    with pytest.raises(Killed):
        Training(log, tmp_path / "b", dies=step).run()
    again = Training(log, tmp_path / "b", resume="latest")
    assert again.run() == unkilled
    first, second = log.of(RunFinished)
    assert first.summary.at == second.summary.at


def test_the_recorded_loss_is_the_one_that_the_trainer_logs(log: ScriptedLog, tmp_path: Path):
    training = Training(log, tmp_path, num_train_epochs=1, logging_strategy="epoch")
    training.run()
    (logged,) = [line["loss"] for line in training.trainer.state.log_history if "loss" in line]
    assert log.of(EpochEnded)[0].facts.train_loss == pytest.approx(float(logged), rel=1e-3)


def test_bfloat16_works(log: ScriptedLog, tmp_path: Path):
    Training(log, tmp_path, bf16=True).run()
    (finished,) = log.of(RunFinished)
    assert finished.summary.germinated == 1


def test_a_trainer_that_begins_anew_beside_a_resumed_run_is_refused(log: ScriptedLog, tmp_path: Path):
    with pytest.raises(Killed):
        Training(log, tmp_path, dies=40).run()
    with pytest.raises(TrainerAstray, match=r"begins at step 0.*goes on from step 32.*growth.checkpoint"):
        Training(log, tmp_path, resume="latest").trainer.train()


@pytest.mark.parametrize(
    ("setting", "what"),
    [({"load_best_model_at_end": True}, "load_best_model_at_end"), ({"torch_compile": True}, "torch_compile")],
)
def test_what_does_not_go_with_growth_is_refused_by_name(
    log: ScriptedLog, tmp_path: Path, setting: dict[str, Any], what: str
):
    with pytest.raises(TrainerRefused, match=what):
        Training(log, tmp_path, **setting).run()
    assert not log.recorded()


def test_a_loss_that_the_model_does_not_return_is_missed(log: ScriptedLog, tmp_path: Path):
    training = Training(log, tmp_path, label_smoothing_factor=0.1)
    with pytest.raises(LossUnseen, match="label smoothing"):
        training.run()
    training.growth.close()
    assert not log.of(RunFinished)
