-- From the temporary table that COPY has filled: an ended span replaces an interrupted one, and nothing else.
INSERT INTO spans ({columns})
SELECT {values} FROM arriving
ON CONFLICT (experiment_id, trace_id, span_id, start_ns) DO UPDATE SET {changes}
WHERE spans.status = 'interrupted' AND excluded.status IS DISTINCT FROM 'interrupted'
