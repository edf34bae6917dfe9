-- One row per reason and reader: how many messages were refused or given up, and what became of them.
SELECT
    json_extract_string(payload, '$.letter.reason') AS reason,
    json_extract_string(payload, '$.letter.consumer') AS reader,
    json_extract_string(payload, '$.letter.stream') AS stream,
    count(*) AS messages,
    count(*) FILTER (aggregate_id IN (SELECT aggregate_id FROM events WHERE type = 'DeadLetterRetried')) AS retried,
    count(*) FILTER (aggregate_id IN (SELECT aggregate_id FROM events WHERE type = 'DeadLetterDropped')) AS dropped,
    min(recorded_at) AS first_at,
    max(recorded_at) AS last_at,
    arg_max(json_extract_string(payload, '$.letter.error'), position) AS last_error
FROM events
WHERE type = 'DeadLetterBuried'
GROUP BY ALL
ORDER BY messages DESC, reason
