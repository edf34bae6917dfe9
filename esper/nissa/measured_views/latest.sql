-- The newest value of everything that was measured, per run and seed.
SELECT
  run_id,
  metric,
  about,
  unit,
  arg_max(value, measured_at) AS value,
  arg_max(step, measured_at) AS step,
  arg_max(epoch, measured_at) AS epoch,
  max(measured_at) AS measured_at,
  count(*) AS points
FROM telemetry.points
GROUP BY ALL
ORDER BY max(measured_at) DESC, metric, about
