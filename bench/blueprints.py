"""What every blueprint costs in processor time, at one site of each kind. Run: python -m bench.blueprints

Forward and backward of one batch, in processor milliseconds of one thread, the median of some rounds;
in each round all blueprints have their turn, so that what else the machine does falls on all of them. `--write` puts
the numbers where the manifests read them (`esper/karn/latencies.json`).
"""

import argparse
import statistics
import time
from collections import defaultdict
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from bench.measuring import machine
from esper.karn import manifest as manifests
from esper.karn.builders import build
from esper.karn.catalogue import CATALOGUE
from esper.leyline.v1.enums_pb2 import SiteKind

BATCH, ROUNDS, WARM_UP = 32, 9, 2
LATENCIES = Path(manifests.__file__).with_name("latencies.json")


def main() -> None:
    """Measure, and print or write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the numbers where the manifests read them")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {
        blueprint_id: {} for blueprint_id, row in CATALOGUE.items() if not row.quarantine_only
    }
    for kind in manifests.REFERENCE_SIZES:
        for blueprint_id, took in measured(kind, chosen.rounds).items():
            found[blueprint_id][SiteKind.Name(kind).removeprefix("SITE_KIND_").lower()] = round(took, 3)
    page = manifests.Measured(f"processor time of one thread on {machine()['machine']}", BATCH, found)
    if chosen.write:
        LATENCIES.write_bytes(msgspec.json.format(msgspec.json.encode(page), indent=1) + b"\n")
    for blueprint_id, took in found.items():
        print(f"{blueprint_id:24}", "  ".join(f"{kind} {ms:8.3f} ms" for kind, ms in took.items()))


def measured(kind: SiteKind, rounds: int) -> dict[str, float]:
    """Return the median of each blueprint that knows *kind*."""
    shape = manifests.reference_site(kind)
    modules = {
        name: build(name, {}, shape, 0)
        for name, row in CATALOGUE.items()
        if kind in row.kinds and not row.quarantine_only
    }
    features = torch.randn((BATCH, *shape.input_size)).requires_grad_()
    samples: dict[str, list[float]] = defaultdict(list)
    for turn in range(WARM_UP + rounds):
        for name, module in modules.items():
            took = _once(module, features)
            if turn >= WARM_UP:
                samples[name].append(took)
    return {name: statistics.median(taken) for name, taken in samples.items()}


def _once(module: nn.Module, features: Tensor) -> float:
    began = time.process_time()
    output: Tensor = module(features)
    output.sum().backward()
    return (time.process_time() - began) * 1000.0


if __name__ == "__main__":
    main()
