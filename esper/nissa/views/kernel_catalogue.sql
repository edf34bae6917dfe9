-- One row per kernel key: what it builds, its verdict and timings, and how often it was asked for and attached.
WITH asked AS (
    SELECT kernel_key, count(*) AS requests, min(recorded_at) AS first_requested_at,
        arg_min(blueprint_id, position) AS blueprint_id,
        arg_min(blueprint_version, position) AS blueprint_version,
        arg_min(blueprint_parameters, position) AS blueprint_parameters
    FROM kernels_requested GROUP BY kernel_key
), registered AS (
    SELECT * FROM kernels_registered QUALIFY row_number() OVER (PARTITION BY kernel_key ORDER BY position DESC) = 1
), rejected AS (
    SELECT * FROM kernels_rejected QUALIFY row_number() OVER (PARTITION BY kernel_key ORDER BY position DESC) = 1
), attached AS (
    SELECT kernel_id, count(*) AS attached FROM seed_events WHERE event = 'KernelAttached' GROUP BY kernel_id
), named AS (
    SELECT blueprint_id, name FROM blueprints
    QUALIFY row_number() OVER (PARTITION BY blueprint_id ORDER BY position DESC) = 1
)
SELECT
    asked.kernel_key,
    CASE
        WHEN registered.position > coalesce(rejected.position, 0) THEN 'registered'
        WHEN rejected.position IS NOT NULL THEN 'rejected'
        ELSE 'requested'
    END AS state,
    asked.blueprint_id,
    named.name,
    asked.blueprint_parameters,
    asked.blueprint_version,
    registered.kernel_id,
    registered.kernel_version,
    registered.verdict,
    registered.eager_fallback,
    coalesce(nullif(registered.fallback_reason, ''), rejected.reason) AS reason,
    registered.bytes,
    registered.compile_ms,
    registered.prewarm_p50_ms,
    registered.prewarm_p95_ms,
    registered.guard_digest,
    registered.torch_version,
    asked.requests,
    coalesce(attached.attached, 0) AS attached,
    asked.first_requested_at,
    registered.recorded_at AS registered_at
FROM asked
LEFT JOIN registered USING (kernel_key)
LEFT JOIN rejected USING (kernel_key)
LEFT JOIN attached ON attached.kernel_id = registered.kernel_id
LEFT JOIN named ON named.blueprint_id = asked.blueprint_id
ORDER BY asked.first_requested_at, asked.kernel_key
