-- How long a training step took, how much of it was Esper's and how long fences waited, per run and epoch.
SELECT
  run_id,
  epoch,
  count(*) FILTER (metric = 'tolaria.training.latency_ms') AS steps,
  median(value) FILTER (metric = 'tolaria.training.latency_ms') AS step_ms,
  quantile_cont(value, 0.95) FILTER (metric = 'tolaria.training.latency_ms') AS step_p95_ms,
  median(value) FILTER (metric = 'tolaria.training.overhead_ms') AS overhead_ms,
  max(value) FILTER (metric = 'tolaria.fence.wait_ms') AS longest_fence_ms,
  arg_max(value, measured_at) FILTER (metric = 'tolaria.training.loss') AS last_loss
FROM telemetry.points
WHERE metric IN (
  'tolaria.training.latency_ms', 'tolaria.training.overhead_ms', 'tolaria.fence.wait_ms', 'tolaria.training.loss'
)
GROUP BY ALL
ORDER BY max(measured_at) DESC, epoch DESC
