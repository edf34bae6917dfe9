-- One row per compile job of Tezzeret: its state, attempts, waiting and compile times, and the last failure.
SELECT
    kernel_key,
    arg_max(state, (position, index)) AS state,
    any_value(blueprint_id) AS blueprint_id,
    any_value(blueprint_parameters) AS blueprint_parameters,
    any_value(requester) AS requester,
    coalesce(max(attempt), 0) AS attempts,
    count(*) FILTER (event = 'CompileAttemptFailed') AS failures,
    arg_max(reason, (position, index)) FILTER (event = 'CompileAttemptFailed') AS last_failure,
    any_value(verdict) AS verdict,
    any_value(compile_ms) AS compile_ms,
    any_value(peak_rss_mib) AS peak_rss_mib,
    any_value(kernel_id) AS kernel_id,
    min(recorded_at) FILTER (state = 'queued') AS queued_at,
    min(recorded_at) FILTER (state = 'running') AS started_at,
    max(recorded_at) FILTER (state IN ('compiled', 'quarantined')) AS finished_at,
    round(date_diff('millisecond', min(recorded_at) FILTER (state = 'queued'),
        min(recorded_at) FILTER (state = 'running')) / 1000.0, 3) AS waited_s,
    min(position) AS first_position,
    max(position) AS last_position
FROM job_events
GROUP BY kernel_key
ORDER BY first_position
