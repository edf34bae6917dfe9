-- One row per event with the event that caused it: follow effect to cause, or cause to effects.
SELECT
    effect.run_id,
    effect.position,
    effect.index,
    effect.type,
    effect.seed_id,
    effect.actor,
    effect.command_type,
    cause.position AS cause_position,
    cause.index AS cause_index,
    cause.type AS cause_type,
    cause.actor AS cause_actor
FROM events AS effect
LEFT JOIN events AS cause ON cause.event_id = effect.causation_id AND effect.causation_id <> ''
ORDER BY effect.position, effect.index
