-- One row per seed and epoch in which seed and host pulled at the same layers: the cosine of their gradients, below 0 apart.
SELECT
    run_id,
    position,
    epoch,
    seed_id,
    generation,
    blueprint_id,
    stage,
    alpha,
    CAST(measured ->> 'gradient_cosine' AS DOUBLE) AS gradient_cosine,
    CAST(measured ->> 'gradient_cosine' AS DOUBLE) < 0 AS in_conflict
FROM seed_epochs
WHERE measured ->> 'gradient_cosine' IS NOT NULL
ORDER BY position, seed_id
