"""Writing a grown model down as plain PyTorch modules."""

from torch import fx, nn

from esper.api.wrap import SURVEY, survey_of
from esper.kasmina import doorway
from esper.kasmina.errors import UnwrapRefused
from esper.kasmina.layout import Layout
from esper.kasmina.planted import PLANTED, SUBMODULE, PlantedSeed, planted_in
from esper.kasmina.proposals import TUPLES
from esper.kasmina.sites import FIRST
from esper.kasmina.tracing import Fossil, grown_graph, plain
from esper.leyline.v1.enums_pb2 import SeedLifecycleStage as Stage


def unwrap(model: nn.Module) -> fx.GraphModule:
    """Return *model* with the seeds it kept, as plain PyTorch modules that need no Esper to load or run.

    The modules and parameters are the model's own, under their names; a kept seed's are under `esper_<seed id>`. It
    computes what the grown model computes. Seeds that were not kept yet are not part of it. Go on with the result:
    *model* itself is left without hooks, and so without its seeds' effect.

    Raises:
        NotWrapped: it was not wrapped.
        UnwrapRefused: its forward pass cannot be written down; it is unchanged then.
    """
    survey_of(model)
    planted = sorted(planted_in(model).values(), key=lambda seed: (len(seed.site.seed_id), seed.site.seed_id))
    for seed in planted:
        seed.unhook()
    kept = [seed for seed in planted if seed.stage == Stage.SEED_STAGE_FOSSILIZED]
    try:
        graph = grown_graph(model, [_fossil(model, seed) for seed in kept])
    except BaseException:
        for seed in planted:
            seed.hook()
        raise
    for seed in kept:
        seed.holder.add_module(f"{SUBMODULE}{seed.site.seed_id}", plain(seed.seed.module))
    doorway.close(model)
    for attribute in (SURVEY, PLANTED):
        model.__dict__.pop(attribute, None)
    return fx.GraphModule(model, graph, class_name=type(model).__name__)


def _fossil(model: nn.Module, seed: PlantedSeed) -> Fossil:
    site, exit_ = seed.site, model.get_submodule(seed.site.exit_module)
    first = tuple(site.output) == FIRST and isinstance(exit_, TUPLES)
    if site.output and not first:
        raise UnwrapRefused(f"a seed grew in one element of what {site.exit_module} returns ({site.label})")
    return Fossil(
        module=seed.seed.module,
        entry=model.get_submodule(site.entry_module) if site.entry_module else None,
        exit=exit_,
        mode=seed.seed.mode,
        alpha=seed.alpha,
        first=first,
        layout=Layout(site.layout),
        input_layout=Layout(site.input_layout),
    )
