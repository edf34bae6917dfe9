"""Extra evaluations that leave the training as it was."""

import random
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def undisturbed(*models: nn.Module) -> Generator[None]:
    """Run an evaluation that training will not notice.

    Put back afterwards: the random states of torch (CPU and CUDA), numpy and Python, and of every model its buffers,
    its modules' training flags and its parameters' gradients. Inside, gradients start out empty. Weights are not
    guarded: the code inside must not step an optimizer.
    """
    torch_state = torch.get_rng_state()
    cuda_states = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    numpy_state, python_state = np.random.get_state(), random.getstate()
    modules = {id(module): module for model in models for module in model.modules()}
    flags = [(module, module.training) for module in modules.values()]
    buffers = [(buffer, buffer.clone()) for model in models for buffer in model.buffers()]
    gradients = [(parameter, parameter.grad) for model in models for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in gradients:
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for module, training in flags:
            module.training = training
        torch.set_rng_state(torch_state)
        if cuda_states:
            torch.cuda.set_rng_state_all(cuda_states)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
