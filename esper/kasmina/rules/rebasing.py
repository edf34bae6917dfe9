"""A seed as it was at a checkpoint, on clocks that have gone on since: what a rollback writes into its stream."""

from esper.kasmina.rules.seed import Seed
from esper.leyline.v1.seed_pb2 import AlphaRamp, SlotState


def slot_state(seed: Seed, steps: int, epochs: int) -> SlotState:
    """Return *seed* with all that it counts moved on by *steps* and *epochs*.

    So its ramp has as far to go, and its embargo as long to last, as when the checkpoint was taken.
    """
    state = SlotState(
        stage=seed.stage,
        shape=seed.shape,
        generation=seed.generation,
        blueprint_id=seed.blueprint_id,
        parameters=seed.parameters,
        blend_mode=seed.blend_mode,
        init_seed=seed.init_seed,
        kernel_key=seed.kernel_key,
        kernel_id=seed.kernel_id,
        parameter_count=seed.parameter_count,
        since_step=seed.since_step + steps,
        since_epoch=seed.since_epoch + epochs,
        germinated_epoch=seed.germinated_epoch + epochs,
        ramp_completed=seed.ramp_completed,
        ramp_paused=seed.ramp_paused,
        blend=seed.blend,
        after_blending=seed.after_blending,
        contribution=seed.contribution,
        embargo_until_epoch=seed.embargo_until_epoch + epochs if seed.embargo_until_epoch else 0,
        cull_reason=seed.cull_reason,
    )
    if seed.ramp is not None:
        ramp = seed.ramp
        state.ramp.CopyFrom(
            AlphaRamp(
                start_step=ramp.start_step + steps,
                total_steps=ramp.total_steps,
                start=ramp.start,
                target=ramp.target,
                curve=ramp.curve,
            )
        )
    return state
