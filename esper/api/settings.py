"""How a run grows: every number a user may turn, with its unit."""

import msgspec

from esper.kasmina.rules.gates import GateLimits
from esper.tamiyo.rules.settings import HeuristicSettings


class GrowthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides how a run grows; recorded with the run, so that its history explains itself.

    `decision_wait_s` bounds the wait for a decision and its acknowledgement at a fence; `kernel_wait_s` the wait
    for a kernel that was asked for, which may have to be compiled first. A wait that ends unanswered defers the
    change, and the log says so. `seed_learning_rate_ratio` times the learning rate of the optimizer's first group
    is the rate at which a growing seed learns. A growing seed that lately takes more than `max_seed_time_ratio` times
    the host's own step, and more than `seed_time_allowance_s`, is culled. With more than four seeds in the
    forward pass at most `contribution_evaluations` scores an epoch are spent on what each of them is worth.
    """

    gates: GateLimits = GateLimits()
    policy: HeuristicSettings = HeuristicSettings()
    decision_wait_s: float = 2.0
    kernel_wait_s: float = 120.0
    checkpoint_every_epochs: int = 1
    embargo_epochs: int = 5
    seed_learning_rate_ratio: float = 1.0
    max_seed_time_ratio: float = 4.0
    seed_time_allowance_s: float = 0.02
    contribution_evaluations: int = 64
    pressure_window_steps: int = 64
    pressure_window_samples: int = 8192
