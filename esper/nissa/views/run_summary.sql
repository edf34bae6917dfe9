-- One row per run: what was trained, how far it came, what grew and what it cost.
WITH starts AS (
    SELECT * FROM run_starts QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY position) = 1
), ends AS (
    SELECT * FROM run_ends QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY position DESC) = 1
), last_epochs AS (
    SELECT * FROM host_epochs QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY epoch DESC, position DESC) = 1
), scores AS (
    SELECT host.run_id, max(host.score) AS best_score FROM host_epochs AS host
    WHERE NOT EXISTS (
        SELECT 1 FROM run_rollbacks AS rolled
        WHERE rolled.run_id = host.run_id AND host.position BETWEEN rolled.abandoned_from AND rolled.abandoned_until
    ) GROUP BY host.run_id
), rolled_back AS (
    SELECT run_id, count(*) AS rollbacks FROM run_rollbacks GROUP BY run_id
), grown AS (
    SELECT run_id,
        count(*) FILTER (stage = 'germinated') AS germinated,
        count(*) FILTER (event = 'SeedFossilized' AND NOT EXISTS (
            SELECT 1 FROM run_rollbacks AS rolled
            WHERE rolled.run_id = seed_events.run_id
                AND seed_events.position BETWEEN rolled.abandoned_from AND rolled.abandoned_until
        )) AS kept,
        count(*) FILTER (stage = 'culled') AS culled
    FROM seed_events GROUP BY run_id
), resumed AS (
    SELECT run_id, count(*) AS resumes FROM run_resumes GROUP BY run_id
), forks AS (
    SELECT run_id, any_value(forked_from) AS forked_from, any_value(forked_at) AS forked_at
    FROM run_forks GROUP BY run_id
), written AS (
    SELECT run_id, count(*) AS events, min(position) AS first_position, max(position) AS last_position,
        max(recorded_at) AS last_recorded_at
    FROM events WHERE run_id <> '' GROUP BY run_id
)
SELECT
    starts.run_id,
    CASE WHEN ends.run_id IS NULL THEN 'unfinished' ELSE 'finished' END AS state,
    starts.recorded_at AS started_at,
    ends.recorded_at AS finished_at,
    written.last_recorded_at,
    starts.model_class,
    starts.data,
    starts.seed,
    coalesce(last_epochs.epoch, 0) AS epochs,
    coalesce(ends.step, last_epochs.step, 0) AS steps,
    coalesce(ends.score, last_epochs.score) AS score,
    scores.best_score,
    starts.host_parameters AS parameters_before,
    coalesce(ends.parameters_after, last_epochs.model_parameters, starts.host_parameters) AS parameters_after,
    coalesce(grown.germinated, 0) AS germinated,
    coalesce(grown.kept, 0) AS kept,
    coalesce(grown.culled, 0) AS culled,
    coalesce(resumed.resumes, 0) AS resumes,
    coalesce(rolled_back.rollbacks, 0) AS rollbacks,
    ends.overhead_ratio,
    written.events,
    written.first_position,
    written.last_position,
    ends.model_sha256,
    forks.forked_from,
    forks.forked_at
FROM starts
JOIN written USING (run_id)
LEFT JOIN ends USING (run_id)
LEFT JOIN last_epochs USING (run_id)
LEFT JOIN scores USING (run_id)
LEFT JOIN grown USING (run_id)
LEFT JOIN resumed USING (run_id)
LEFT JOIN forks USING (run_id)
LEFT JOIN rolled_back USING (run_id)
ORDER BY starts.position
