-- One row per thing that did not go its way between a training and its log: lost, missed, late, withdrawn, frozen.
SELECT run_id, epoch, step, 'epochs skipped' AS what, NULL AS seed_id, reason, position
FROM epochs_skipped
UNION ALL
SELECT run_id, epoch, step, 'decision missed', NULL, reason, position
FROM decisions_missed
UNION ALL
SELECT run_id, epoch, step, 'decision withdrawn', seed_id, reason, position
FROM decisions_withdrawn
UNION ALL
SELECT run_id, epoch, step, 'change deferred', seed_id, reason, position
FROM changes_deferred
UNION ALL
SELECT run_id, epoch, step, CASE WHEN frozen THEN 'growth frozen' ELSE 'growth thawed' END, NULL, reason, position
FROM run_freezes
ORDER BY position
