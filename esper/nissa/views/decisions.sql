-- One row per decision of Tamiyo: what it chose, the numbers it read, and the first event that followed.
SELECT
    made.run_id,
    made.position,
    made.epoch,
    made.step,
    made.action,
    made.seed_id,
    made.blueprint_id,
    made.reason,
    made.inputs,
    made.thresholds,
    made.policy_version,
    observed.position AS observation_position,
    effect.position AS effect_position,
    effect.type AS effect,
    withdrawn.position IS NOT NULL AS withdrawn
FROM decisions_made AS made
LEFT JOIN events AS observed ON observed.event_id = made.observation_id
LEFT JOIN (
    SELECT causation_id, position, type FROM events WHERE causation_id <> '' AND aggregate = 'seed'
    QUALIFY row_number() OVER (PARTITION BY causation_id ORDER BY position, index DESC) = 1
) AS effect ON effect.causation_id = made.event_id
LEFT JOIN decisions_withdrawn AS withdrawn ON withdrawn.decision_id = made.event_id
ORDER BY made.position, made.index
