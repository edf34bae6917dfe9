-- One row per number a gate looked at: measured against threshold, and whether seed and gate passed.
SELECT
    checks.run_id,
    checks.position,
    checks.epoch,
    checks.step,
    checks.seed_id,
    checks.gate,
    checks.profile,
    verdicts.passed AS gate_passed,
    checks.input,
    checks.measured,
    checks.threshold,
    checks.passed
FROM gate_checks AS checks
JOIN gate_verdicts AS verdicts USING (position, index)
ORDER BY checks.position, checks.index, checks.input
