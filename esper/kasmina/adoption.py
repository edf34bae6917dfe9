"""A kept seed's parameters join the host's optimizer."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer


def group_near(host: Optimizer, near: nn.Module) -> dict[str, Any]:
    """Return the group of *host* that trains the first parameter of *near*, or the first group if none does.

    So a seed learns at the rate, and with the weight decay, that the user gave to the part of the model it grows on.
    """
    for parameter in near.parameters():
        for group in host.param_groups:
            if any(parameter is held for held in group["params"]):
                return group
    return host.param_groups[0]


def adopt(host: Optimizer, parameters: Sequence[Tensor], own: Optimizer | None, near: nn.Module, name: str) -> None:
    """Let *host* train *parameters* from now on, in the group of *near*, with the moments that *own* has gathered.

    They join a group that is there, and no new one, because torch's schedulers hold one base learning rate per group
    and refuse an optimizer that has gained a group. Moments are taken over by Adam and AdamW; other optimizers begin
    with none. What *host* holds for its other parameters is not touched; what it trains already, in whichever group,
    is not added again. Where parameters have names, theirs begin with *name*.
    """
    group = group_near(host, near)
    held = {id(parameter) for each in host.param_groups for parameter in each["params"]}
    joining = [parameter for parameter in parameters if id(parameter) not in held]
    group["params"].extend(joining)
    if "param_names" in group:
        group["param_names"].extend(f"{name}.{index}" for index in range(len(joining)))
    if own is None or not isinstance(host, Adam):
        return
    for parameter in joining:
        moments = own.state[parameter]
        if moments:
            host.state[parameter] = _moments(moments, amsgrad=group["amsgrad"])


def _moments(own: dict[str, Tensor], *, amsgrad: bool) -> dict[str, Tensor]:
    taken = {name: own[name].clone(memory_format=torch.preserve_format) for name in ("step", "exp_avg", "exp_avg_sq")}
    if amsgrad:
        taken["max_exp_avg_sq"] = taken["exp_avg_sq"].clone(memory_format=torch.preserve_format)
    return taken


def release(host: Optimizer, parameters: Sequence[Tensor]) -> None:
    """Let *host* no longer train *parameters*, nor remember anything of them; it is what it was before they joined."""
    leaving = {id(parameter) for parameter in parameters}
    for group in host.param_groups:
        stays = [id(parameter) not in leaving for parameter in group["params"]]
        for name in ("params", "param_names"):
            if name in group:
                group[name][:] = [each for each, kept in zip(group[name], stays, strict=True) if kept]
    for parameter in parameters:
        host.state.pop(parameter, None)


def held_by(optimizer: Optimizer, parameters: set[int]) -> int:
    """Count the parameters, by `id`, that *optimizer* steps or remembers."""
    grouped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return len(parameters & (grouped | {id(parameter) for parameter in optimizer.state}))
