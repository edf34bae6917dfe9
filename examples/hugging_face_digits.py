"""Grow a tiny Vision Transformer under the Trainer of transformers, on scikit-learn's digits (1,797 real images).

pip install 'esper-growth[local,demo,hf]'
python examples/hugging_face_digits.py              # the model is made from a config: nothing is downloaded
python examples/hugging_face_digits.py --resume     # after an interruption
"""

import argparse
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

import esper
from esper.api.callbacks.hugging_face import Growth

TRAIN, HELD_OUT = 1_200, 1_500


class Digits(Dataset[dict[str, Tensor]]):
    """Images of 8x8 pixels with their digits."""

    def __init__(self, first: int, end: int) -> None:
        found: Any = load_digits()
        self.pixels = torch.tensor(found.data[first:end] / 16, dtype=torch.float32).view(-1, 1, 8, 8)
        self.labels = torch.tensor(found.target[first:end])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"pixel_values": self.pixels[index], "labels": self.labels[index]}

    def score(self, model: nn.Module) -> dict[str, float]:
        """Return the share of digits that are named rightly, and the loss."""
        with torch.no_grad():
            found = model.eval()(pixel_values=self.pixels, labels=self.labels)
        return {"score": float((found.logits.argmax(1) == self.labels).double().mean()), "loss": float(found.loss)}


def main() -> None:
    """Train, grow and report."""
    parser = argparse.ArgumentParser(description="Grow a tiny transformer under the Trainer of transformers.")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--log", default="embedded", help="embedded, memory or nats://...")
    parser.add_argument("--folder", default=".esper")
    parser.add_argument("--resume", action="store_true")
    chosen = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {"image_size": 8, "patch_size": 4, "num_channels": 1, "num_labels": 10}
    net = ViTForImageClassification(
        ViTConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, **shape)
    )
    before, test = net.num_parameters(), Digits(HELD_OUT, 1_797)
    growth = Growth(
        evaluate=Digits(TRAIN, HELD_OUT).score,
        log=chosen.log,
        folder=chosen.folder,
        resume="latest" if chosen.resume else None,
    )
    trainer = Trainer(
        model=esper.wrap(net, sites=[("vit.layers.0", "classifier")]),
        args=TrainingArguments(
            output_dir=f"{chosen.folder}/trainer",
            num_train_epochs=chosen.epochs,
            learning_rate=1e-2,
            per_device_train_batch_size=16,
            gradient_accumulation_steps=2,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
        ),
        train_dataset=Digits(0, TRAIN),
        callbacks=[growth],
    )
    trainer.train(resume_from_checkpoint=growth.checkpoint())
    after = sum(parameter.numel() for parameter in net.parameters())
    print(f"test accuracy {test.score(net)['score']:.2%}, parameters {before:,} -> {after:,}")


if __name__ == "__main__":
    main()
