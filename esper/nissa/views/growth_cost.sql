-- One row per seed that was kept: what it gained, and what that cost in parameters, epochs and compile time.
WITH lives AS (
    SELECT *, last_value(generation IGNORE NULLS) OVER (PARTITION BY run_id, seed_id ORDER BY position, index) AS life
    FROM seed_events
), kept AS (
    SELECT
        run_id,
        seed_id,
        life AS generation,
        any_value(blueprint_id) AS blueprint_id,
        any_value(parameters) AS parameters,
        any_value(contribution) AS contribution,
        min(epoch) FILTER (stage = 'germinated') AS germinated_epoch,
        min(epoch) FILTER (stage = 'fossilized') AS kept_epoch,
        any_value(kernel_key) AS kernel_key,
        max(position) FILTER (stage = 'fossilized') AS position
    FROM lives WHERE life IS NOT NULL GROUP BY run_id, seed_id, life
)
SELECT
    kept.run_id,
    kept.seed_id,
    kept.generation,
    kept.blueprint_id,
    kept.contribution,
    kept.parameters,
    kept.contribution / nullif(kept.parameters / 1000.0, 0) AS gain_per_1000_parameters,
    kept.kept_epoch - kept.germinated_epoch AS epochs_to_keep,
    kernels.compile_ms,
    kernels.bytes AS kernel_bytes,
    kept.position
FROM kept
LEFT JOIN (
    SELECT * FROM kernels_registered QUALIFY row_number() OVER (PARTITION BY kernel_key ORDER BY position DESC) = 1
) AS kernels USING (kernel_key)
WHERE kept.kept_epoch IS NOT NULL
ORDER BY kept.position
