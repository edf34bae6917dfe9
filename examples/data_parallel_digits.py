"""Grow a narrow network in two processes at once, on scikit-learn's digits (1,797 real images).

torchrun --nproc-per-node 2 examples/data_parallel_digits.py
torchrun --nproc-per-node 2 examples/data_parallel_digits.py --resume      # after an interruption
"""

import argparse
from functools import partial

import torch
import torch.distributed as dist
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import esper

TRAIN, HELD_OUT = 1_200, 1_500


def part(first: int, end: int) -> tuple[Tensor, Tensor]:
    """Return some of the images and their digits."""
    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels[first:end] / 16, dtype=torch.float32), torch.tensor(labels[first:end])


def accuracy(model: nn.Module, pixels: Tensor, labels: Tensor) -> float:
    """Return the share of digits that are named rightly."""
    with torch.no_grad():
        return float((model(pixels).argmax(1) == labels).double().mean())


def main() -> None:
    """Train, grow and report."""
    parser = argparse.ArgumentParser(description="Grow a narrow network in two processes at once.")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--log", default="embedded", help="embedded or nats://...")
    parser.add_argument("--folder", default=".esper")
    parser.add_argument("--resume", action="store_true")
    chosen = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    dist.init_process_group("gloo")
    dataset = TensorDataset(*part(0, TRAIN))
    sampler: DistributedSampler[tuple[Tensor, ...]] = DistributedSampler(dataset)
    loader = DataLoader(dataset, batch_size=16, sampler=sampler)

    net = nn.Sequential(nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 10))
    model = DistributedDataParallel(esper.wrap(net, sites=[("0", "2")]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    pixels, labels = part(TRAIN, HELD_OUT)
    session = esper.attach(
        model,
        optimizer,
        evaluate=partial(accuracy, pixels=pixels, labels=labels),
        log=chosen.log,
        folder=chosen.folder,
        resume="latest" if chosen.resume else None,
    )
    with session:
        for epoch in range(session.epoch, chosen.epochs):
            sampler.set_epoch(epoch)
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                session.step(loss)
            session.end_epoch()
    parameters = sum(parameter.numel() for parameter in net.parameters())
    print(f"rank {dist.get_rank()}: {parameters} parameters, test accuracy {accuracy(net, *part(HELD_OUT, 1_797)):.2%}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
