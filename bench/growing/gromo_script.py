"""Trains one growing perceptron with gromo, in a Python that has it: GIVEN.json in, the outcome on stdout.

gromo 0.1.0 (BSD-3) as its tutorial uses it: the optimizer is made anew at each growth, statistics come from the
training set, TINY's scale is found by a line search, GradMax has none. Data, batches, schedule and host sizes are
those of the other arms. TINY's hidden units are ReLU like theirs, with which it did better than with gromo's default,
SELU; GradMax has SELU, because its new units begin with zeros, where a ReLU has no gradient.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from gromo.containers.growing_mlp import GrowingMLP
from gromo.utils.training_utils import compute_statistics
from torch import nn
from torch.optim import AdamW
from torch.utils.data import DataLoader, TensorDataset

GROWTHS, GROWN_UNTIL = 6, 0.6
STATISTICS_BATCHES, STATISTICS_BATCH = 6, 1_024
SCALES = (0.0, 0.1, 0.5, 1.0)
WAYS = {
    "gromo TINY": {
        "compute_delta": False,
        "use_covariance": True,
        "alpha_zero": False,
        "omega_zero": False,
        "use_projection": True,
        "ignore_singular_values": False,
    },
    "gromo GradMax": {
        "compute_delta": False,
        "use_covariance": False,
        "alpha_zero": True,
        "omega_zero": False,
        "use_projection": False,
        "ignore_singular_values": True,
    },
}


def grow(model: GrowingMLP, layer: int, way: str, units: int, loader: DataLoader, tried: tuple) -> None:
    """Add up to *units* hidden units in front of *layer*."""
    model.set_growing_layers(index=layer)
    compute_statistics(model, loader, nn.CrossEntropyLoss(reduction="sum"), batch_limit=STATISTICS_BATCHES)
    model.compute_optimal_updates(maximum_added_neurons=units, **WAYS[way])
    model.reset_computation()
    model.dummy_select_update()
    model.set_scaling_factor(_best_scale(model, tried) if way == "gromo TINY" else 1.0)
    model.apply_change()
    model.set_growing_layers(scheduling_method="all")


@torch.no_grad()
def _best_scale(model: GrowingMLP, tried: tuple) -> float:
    losses = {}
    for scale in SCALES:
        model.set_scaling_factor(scale)
        losses[scale] = float(F.cross_entropy(model.extended_forward(tried[0]), tried[1]))
    return min(losses, key=losses.get)


def rate_at(step: int, steps: int, rate: float) -> float:
    """Return the cosine schedule's rate, which an optimizer that is made anew goes on with."""
    return rate * 0.5 * (1.0 + np.cos(np.pi * step / steps))


def train(given: dict, inputs: torch.Tensor, targets: torch.Tensor) -> tuple[GrowingMLP, float]:
    """Return the grown model and the CPU seconds that growing took."""
    sizes = {"hidden_size": given["start"], "number_hidden_layers": 2}
    activation = nn.ReLU() if given["arm"] == "gromo TINY" else nn.SELU()
    model = GrowingMLP(inputs.shape[1], given["classes"], activation=activation, device=torch.device("cpu"), **sizes)
    loader = DataLoader(TensorDataset(inputs, targets), batch_size=STATISTICS_BATCH, shuffle=True)
    optimizer, paused, step = AdamW(model.parameters(), lr=given["rate"]), 0.0, 0
    epochs, batch = given["epochs"], given["batch"]
    steps = epochs * -(-len(inputs) // batch)
    turns = {max(1, round(epochs * GROWN_UNTIL * (turn + 1) / GROWTHS)): turn for turn in range(GROWTHS)}
    for epoch in range(1, epochs + 1):
        model.train()
        for chosen in torch.randperm(len(inputs)).split(batch):
            optimizer.param_groups[0]["lr"] = rate_at(step, steps, given["rate"])
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[chosen]), targets[chosen]).backward()
            optimizer.step()
            step += 1
        if epoch in turns:
            began = time.process_time()
            picked = torch.randperm(len(inputs))[:STATISTICS_BATCH]
            # In turn the first and the second hidden layer.
            grow(model, turns[epoch] % 2, given["arm"], given["units"], loader, (inputs[picked], targets[picked]))
            optimizer = AdamW(model.parameters(), lr=given["rate"])
            paused += time.process_time() - began
    return model, paused


@torch.no_grad()
def _accuracy(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    model.eval()
    return 100.0 * float((model(inputs).argmax(1) == targets).float().mean())


def main() -> None:
    """Do what GIVEN.json says."""
    given = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(1)
    torch.manual_seed(given["seed"])
    data = {name: torch.from_numpy(array) for name, array in np.load(given["data"]).items()}
    began = time.process_time()
    model, paused = train(given, data["train_inputs"], data["train_targets"])
    used = time.process_time() - began
    test = _accuracy(model, data["test_inputs"], data["test_targets"]) if given["tested"] else None
    found = {
        "valid": _accuracy(model, data["valid_inputs"], data["valid_targets"]),
        "test": test,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "cpu_s": used,
        "growth_s": paused,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
