-- One row per command of Tamiyo that was followed up: what it did to the score, and how that is known.
SELECT
    opened.run_id,
    opened.report_id,
    opened.seed_id,
    opened.blueprint_id,
    opened.command_type,
    coalesce(written.outcome, 'open') AS outcome,
    written.attribution,
    opened.score_before,
    written.metrics,
    opened.window_epochs,
    opened.epoch AS opened_epoch,
    written.epoch AS written_epoch,
    written.notes,
    opened.policy_version,
    opened.position AS opened_position,
    written.position AS written_position
FROM reports_opened AS opened
LEFT JOIN reports_written AS written ON written.run_id = opened.run_id AND written.report_id = opened.report_id
ORDER BY opened.position, opened.index
