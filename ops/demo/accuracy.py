"""How well a network names images it has not learned from."""

import torch
import torch.nn.functional as F
from torch import nn

from ops.demo.images import Part

BATCH = 1_000


def accuracy(model: nn.Module, part: Part) -> dict[str, float]:
    """Return `score`, the share of *part* whose label is the largest logit, and `loss`, the mean cross-entropy.

    The model's mode is left as it was.
    """
    was_training = model.training
    model.eval()
    right, loss = 0, 0.0
    with torch.no_grad():
        for start in range(0, len(part), BATCH):
            labels_N = part.labels_N[start : start + BATCH]
            logits_NK = model(part.images_NCHW[start : start + BATCH])
            right += int((logits_NK.argmax(1) == labels_N).sum())
            loss += float(F.cross_entropy(logits_NK, labels_N, reduction="sum"))
    model.train(was_training)
    return {"score": right / len(part), "loss": loss / len(part)}
