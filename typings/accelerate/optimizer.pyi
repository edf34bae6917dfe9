from typing import Any

from torch.optim import Optimizer

class AcceleratedOptimizer(Optimizer):
    optimizer: Optimizer
    scaler: Any
