-- One row per rollback: why, back to what, what was abandoned, and how long it took.
SELECT
    rolled.run_id,
    rolled.timeline,
    rolled.epoch,
    rolled.step,
    rolled.mode,
    rolled.reason,
    rolled.to_epoch,
    rolled.to_step,
    took.tier,
    took.seconds,
    rolled.abandoned_from,
    rolled.abandoned_until,
    rolled.checkpoint_id,
    rolled.recorded_at,
    rolled.position
FROM run_rollbacks AS rolled
LEFT JOIN run_rollback_times AS took ON took.run_id = rolled.run_id AND took.timeline = rolled.timeline
ORDER BY rolled.position
