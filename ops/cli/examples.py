"""Questions to begin with, each with its SQL; shown by `.examples`, and all of them run in the tests."""

EXAMPLES: tuple[tuple[str, str], ...] = (
    (
        "which runs are there, and what came of them?",
        "select run_id, state, epochs, score, kept, culled from run_summary",
    ),
    (
        "which seeds were kept, and what did each bring?",
        "select seed_id, blueprint_id, contribution, parameters from seed_lifecycle where outcome = 'kept'",
    ),
    (
        "why were the others removed?",
        "select seed_id, generation, culled_from, cull_reason from seed_lifecycle where outcome = 'culled'",
    ),
    (
        "at which gates do seeds fail, and by which number?",
        "select gate, input, count(*) as failures, avg(measured) as measured, any_value(threshold) as threshold "
        "from gates where not passed group by all order by failures desc",
    ),
    (
        "what did the controller decide, epoch by epoch?",
        "select epoch, action, seed_id, reason from decisions order by position",
    ),
    (
        "which bit of growth was worth its parameters?",
        "select seed_id, contribution, parameters, gain_per_1000_parameters from growth_cost "
        "order by gain_per_1000_parameters desc",
    ),
    (
        "what takes the compiler's time?",
        "select blueprint_id, verdict, compile_ms from kernel_catalogue order by compile_ms desc nulls last",
    ),
    (
        "what kinds of event does the log hold?",
        "select type, count(*) as events, max(position) as last from events group by type order by events desc",
    ),
)
