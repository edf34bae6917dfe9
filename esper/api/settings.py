"""How a run grows: every number a user may turn, with its unit."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

import msgspec

from esper.api.errors import SettingUnknown
from esper.kasmina.rules.gates import GateLimits
from esper.leyline.v1.enums_pb2 import AfterBlending
from esper.tamiyo.rules.settings import HeuristicSettings
from esper.tolaria.rules.vitals import VitalsLimits


class RollbackLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many copies of sound states are held in memory, on the devices where they live, and how large together.

    Without a copy that fits, a rollback reads the checkpoint's blobs.
    """

    snapshots: int = 5
    snapshots_mib: float = 256.0


class KernelLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What growing may take of memory.

    At most `cache_kernels` verified kernels of `cache_mib` together are kept at hand, and none longer than
    `unused_epochs` after its last seed; those that seeds grow from stay. A seed is not attached if its weights,
    gradients and moments leave less than `reserve_share` of its GPU free. `memory_mib` plays the GPU's part on the CPU:
    growing seeds and kernels at hand take no more; None is no limit.
    """

    cache_mib: float = 512.0
    cache_kernels: int = 128
    unused_epochs: int = 10
    reserve_share: float = 0.02
    memory_mib: float | None = None


class GrowthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides how a run grows; recorded with the run, so that its history explains itself.

    `decision_wait_s` bounds the wait for a decision and its acknowledgement at a fence; `kernel_wait_s` the wait
    for a kernel that was asked for, which may have to be compiled first. A wait that ends unanswered defers the
    change, and the log says so. `seed_learning_rate_ratio` times the learning rate of the optimizer's group
    at the seed's exit is the rate at which it learns while it grows; over its first `seed_warmup_steps` it rises from a
    tenth of that. A growing seed that lately takes more than `max_seed_time_ratio` times
    the host's own step, and more than `seed_time_allowance_s`, is culled. With more than four seeds in the
    forward pass at most `contribution_evaluations` scores an epoch are spent on what each of them is worth.
    `after_blending` says who trains a seed that is in: "share" (a kept one joins your optimizer), "coadapt" (it goes on
    with its own) or "freeze" (its weights stand still from probation on).
    `keep_checkpoints` is how many of the newest checkpoints can be put back; older ones expire, but for the first and
    the two newest that were found sound. None keeps all. With `checkpoint_when_kept` there is a checkpoint, too, at the
    end of each epoch in which a seed was kept.
    """

    gates: GateLimits = GateLimits()
    policy: HeuristicSettings = HeuristicSettings()
    vitals: VitalsLimits = VitalsLimits()
    rollback: RollbackLimits = RollbackLimits()
    kernels: KernelLimits = KernelLimits()
    decision_wait_s: float = 2.0
    kernel_wait_s: float = 120.0
    checkpoint_every_epochs: int = 1
    checkpoint_when_kept: bool = True
    keep_checkpoints: Annotated[int, msgspec.Meta(ge=1)] | None = None
    embargo_epochs: int = 5
    after_blending: Literal["share", "coadapt", "freeze"] = "share"
    seed_learning_rate_ratio: float = 1.0
    seed_warmup_steps: int = 0
    max_seed_time_ratio: float = 4.0
    seed_time_allowance_s: float = 0.02
    contribution_evaluations: int = 64
    pressure_window_steps: int = 64
    pressure_window_samples: int = 8192


def after_blending(name: str) -> AfterBlending:
    """Return the policy called *name*."""
    return cast("AfterBlending", AfterBlending.Value(f"AFTER_BLENDING_{name.upper()}"))


def settings_of(recorded: str) -> GrowthSettings:
    """Return the settings that a run recorded; what was no setting yet then has its default, as it had in effect."""
    return msgspec.json.decode(recorded, type=GrowthSettings) if recorded else GrowthSettings()


def changed(settings: GrowthSettings, changes: Mapping[str, object]) -> GrowthSettings:
    """Return *settings* with some of them changed, by their dotted names: {"policy.min_epoch": 5}.

    Raises:
        SettingUnknown: there is no such setting, or the value is not one that it takes.
    """
    tree: dict[str, Any] = msgspec.to_builtins(settings)
    for name, value in changes.items():
        known = _names(msgspec.to_builtins(settings))
        if name not in known:
            raise SettingUnknown(name, "there is none of that name", known)
        *parents, last = name.split(".")
        branch = tree
        for parent in parents:
            branch = branch[parent]
        branch[last] = value
        try:
            msgspec.convert(tree, GrowthSettings, strict=False)
        except msgspec.ValidationError as error:
            raise SettingUnknown(name, str(error), ()) from error
    return msgspec.convert(tree, GrowthSettings, strict=False)


def _names(tree: dict[str, Any], under: str = "") -> tuple[str, ...]:
    found: tuple[str, ...] = ()
    for name, value in tree.items():
        found += _names(cast("dict[str, Any]", value), f"{name}.") if isinstance(value, dict) else (f"{under}{name}",)
    return found
