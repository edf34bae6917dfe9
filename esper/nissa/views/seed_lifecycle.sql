-- One row per seed that ever germinated: where it lived, when it passed each stage, and why it was kept or removed.
WITH lives AS (
    SELECT *,
        EXISTS (
            SELECT 1 FROM run_rollbacks AS rolled
            WHERE rolled.run_id = seed_events.run_id
                AND seed_events.position BETWEEN rolled.abandoned_from AND rolled.abandoned_until
        ) AS abandoned,
        last_value(generation IGNORE NULLS) OVER life AS life,
        first_value(site IGNORE NULLS) OVER (PARTITION BY run_id, seed_id ORDER BY position, index) AS label
    FROM seed_events
    WINDOW life AS (PARTITION BY run_id, seed_id ORDER BY position, index)
)
SELECT
    run_id,
    seed_id,
    life AS generation,
    any_value(label) AS site,
    any_value(blueprint_id) AS blueprint_id,
    any_value(blend_mode) AS blend_mode,
    arg_max(stage, (position, index)) FILTER (stage IS NOT NULL) AS stage,
    CASE
        WHEN bool_and(abandoned) THEN 'abandoned'
        ELSE CASE arg_max(stage, (position, index)) FILTER (stage IN ('fossilized', 'culled') OR event = 'SeedRebased')
            WHEN 'fossilized' THEN 'kept'
            WHEN 'culled' THEN 'culled'
            ELSE 'growing'
        END
    END AS outcome,
    any_value(parameters) AS parameters,
    any_value(contribution) AS contribution,
    min(epoch) FILTER (stage = 'germinated') AS germinated_epoch,
    min(epoch) FILTER (stage = 'training') AS training_epoch,
    min(epoch) FILTER (stage = 'blending') AS blending_epoch,
    min(epoch) FILTER (stage = 'shadowing') AS shadowing_epoch,
    min(epoch) FILTER (stage = 'probationary') AS probation_epoch,
    min(epoch) FILTER (stage IN ('fossilized', 'culled')) AS ended_epoch,
    any_value(from_stage) AS culled_from,
    any_value(reason) FILTER (stage = 'culled') AS cull_reason,
    any_value(initiator) AS culled_by,
    any_value(kernel_id) AS kernel_id,
    any_value(kernel_key) AS kernel_key,
    min(position) AS first_position,
    max(position) AS last_position
FROM lives
WHERE life IS NOT NULL
GROUP BY run_id, seed_id, life
ORDER BY first_position
