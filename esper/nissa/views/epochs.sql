-- One row per epoch of a run: the host's loss and score, its size, and which seeds were growing.
WITH growing AS (
    SELECT position, index, list(seed_id || ' ' || stage ORDER BY seed_id) AS seeds
    FROM seed_epochs WHERE stage NOT IN ('dormant', 'unknown') GROUP BY position, index
)
SELECT
    host.run_id,
    host.epoch,
    host.step,
    host.train_loss,
    host.score,
    host.metrics,
    host.model_parameters,
    host.growing_parameters,
    coalesce(growing.seeds, []) AS seeds,
    host.step_seconds,
    host.overhead_seconds,
    host.outbox_depth,
    EXISTS (
        SELECT 1 FROM run_rollbacks AS rolled
        WHERE rolled.run_id = host.run_id AND host.position BETWEEN rolled.abandoned_from AND rolled.abandoned_until
    ) AS abandoned,
    host.position
FROM host_epochs AS host
LEFT JOIN growing USING (position, index)
ORDER BY host.position, host.index
