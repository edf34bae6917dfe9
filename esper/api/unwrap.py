"""Giving a model back as plain PyTorch: with what it has grown, or without."""

from collections import Counter
from typing import Literal, TypeAlias, overload

from torch import Tensor, fx, nn

from esper.api.original import ORIGIN, original_of
from esper.api.wrap import SURVEY, survey_of
from esper.karn.linear_form import linear_form
from esper.kasmina import doorway
from esper.kasmina.errors import UnwrapRefused
from esper.kasmina.folding import fold
from esper.kasmina.layout import Layout
from esper.kasmina.planted import PLANTED, PlantedSeed, planted_in
from esper.kasmina.proposals import TUPLES
from esper.kasmina.sites import FIRST
from esper.kasmina.tracing import Fossil, grown_graph, plain
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage

Mode: TypeAlias = Literal["bake", "host", "original"]


@overload
def unwrap(model: nn.Module, mode: Literal["bake"] = "bake", *, fold_linear: bool = False) -> fx.GraphModule: ...
@overload
def unwrap(model: nn.Module, mode: Literal["host", "original"]) -> nn.Module: ...
def unwrap(model: nn.Module, mode: Mode = "bake", *, fold_linear: bool = False) -> nn.Module:
    """Return *model* as plain PyTorch modules that need no Esper to load or run; go on with the result.

    "bake" keeps what has grown: the result is an `fx.GraphModule` that computes what the grown model computes. The
    modules and parameters are the model's own, under their names; a kept seed's are under `esper_<seed id>`. Seeds
    that were not kept yet are not part of it. With *fold_linear*, kept seeds that are linear maps over channels
    (BP002, BP-PROJ-LoRA-64 beside a linear layer) are added into that layer's weights and cost nothing any more;
    the outputs then agree to rounding instead of to the bit, and an optimizer of before still holds their parameters.

    "host" drops what has grown and returns *model* itself: its own modules with the weights that they have now.

    "original" drops it, too, and puts back the weights, buffers and modes that *model* had when its run began, as the
    run's first checkpoint holds them, to the bit; of a run that was resumed, forked or loaded, that is its first
    beginning. What an optimizer of yours has learnt stays as it is.

    Each way *model* is left without hooks, and so without its seeds' effect.

    Raises:
        NotWrapped: it was not wrapped.
        UnwrapRefused: "bake": its forward pass cannot be written down; "original": it was in no run. It is unchanged.
        HostMismatch, BlobMissing, BlobCorrupt, CheckpointBroken, StackNotReady, StoreUnavailable: "original" only: its
            layers were changed since, or the first checkpoint is damaged or cannot be read. It is unchanged then.
    """
    if mode not in ("bake", "host", "original"):
        raise ValueError(f'mode is "bake", "host" or "original", not {mode!r}')
    survey_of(model)
    put_back = original_of(model) if mode == "original" else None
    planted = sorted(planted_in(model).values(), key=lambda seed: (len(seed.site.seed_id), seed.site.seed_id))
    if mode == "bake":
        return _baked(model, planted, fold_linear=fold_linear)
    _bare(model, planted)
    if put_back is not None:
        put_back()
    return model


def _baked(model: nn.Module, planted: list[PlantedSeed], *, fold_linear: bool) -> fx.GraphModule:
    for seed in planted:
        seed.unhook()
    kept = [seed for seed in planted if seed.stage == Stage.SEED_STAGE_FOSSILIZED]
    try:
        fossils = [_fossil(model, seed) for seed in kept]
        graph = grown_graph(model, fossils)
    except BaseException:
        for seed in planted:
            seed.hook()
        raise
    if fold_linear:
        left = fold(tuple(fossils), _linear_forms(model, fossils))
        for seed in [seed for seed in kept if all(fossil.module is not seed.seed.module for fossil in left)]:
            _take_out(seed)
            kept.remove(seed)
        graph = grown_graph(model, left)
    for seed in kept:
        for name, part in seed.parts().items():
            seed.holder.add_module(name, plain(part))
    _forget(model)
    return fx.GraphModule(model, graph, class_name=type(model).__name__)


def _linear_forms(model: nn.Module, fossils: list[Fossil]) -> dict[int, Tensor]:
    """Return the matrices of the seeds that have one, but for those at a layer whose weight is another's, too."""
    uses = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    forms = ((index, fossil, linear_form(fossil.module)) for index, fossil in enumerate(fossils))
    return {
        index: form
        for index, fossil, form in forms
        if form is not None and all(uses[id(own)] == 1 for own in fossil.exit.parameters(recurse=False))
    }


def _bare(model: nn.Module, planted: list[PlantedSeed]) -> None:
    for seed in planted:
        seed.unhook()
        if seed.stage == Stage.SEED_STAGE_FOSSILIZED:
            _take_out(seed)
    _forget(model)


def _take_out(seed: PlantedSeed) -> None:
    holder = seed.holder
    for name in seed.parts():
        delattr(holder, name)


def _forget(model: nn.Module) -> None:
    doorway.close(model)
    for attribute in (SURVEY, PLANTED, ORIGIN):
        model.__dict__.pop(attribute, None)


def _fossil(model: nn.Module, seed: PlantedSeed) -> Fossil:
    site, exit_ = seed.site, model.get_submodule(seed.site.exit_module)
    first = tuple(site.output) == FIRST and isinstance(exit_, TUPLES)
    if site.output and not first:
        raise UnwrapRefused(f"a seed grew in one element of what {site.exit_module} returns ({site.label})")
    return Fossil(
        module=seed.seed.module,
        entry=model.get_submodule(site.entry_module) if site.entry_module else None,
        exit=exit_,
        blend=seed.seed.blend,
        alpha=seed.alpha,
        first=first,
        layout=Layout(site.layout),
        input_layout=Layout(site.input_layout),
    )
