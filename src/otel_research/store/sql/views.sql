-- Documented views (docs/stores.md). Made anew whenever a column was added.

-- One row per span with readable ids and times, beside everything that is stored.
CREATE VIEW readable_spans AS
SELECT encode(s.trace_id, 'hex') AS trace,
       encode(s.span_id, 'hex') AS span,
       to_timestamp(s.start_ns / 1000000000) + make_interval(secs => s.start_ns % 1000000000 / 1e9) AS started_at,
       e.name AS experiment,
       s.*
FROM spans s LEFT JOIN experiments e ON e.id = s.experiment_id;

-- Requests to a model, each once: what `is_call` says in `exp.spans()`, for experiments that were stopped.
CREATE VIEW model_calls AS
SELECT e.name AS experiment, s.experiment_id, s.condition, s.session_id, s.trial_id, s.provider,
       coalesce(s.response_model, s.request_model) AS model, s.request_model, s.response_model,
       s.duration_ms, s.ttft_ms, s.input_tokens, s.output_tokens, s.error_type, s.status, s.start_ns, s.sample_weight,
       c.cost_usd, c.cost_nano_usd, c.cost_source, c.prices
FROM calls c
JOIN spans s ON s.experiment_id = c.experiment_id AND s.trace_id = c.trace_id AND s.span_id = c.span_id
            AND s.start_ns IS NOT DISTINCT FROM c.start_ns
LEFT JOIN experiments e ON e.id = s.experiment_id
WHERE c.is_call AND s.aside IS NULL;

-- Milliseconds per call, by experiment and condition.
CREATE VIEW latency_by_condition AS
SELECT experiment, experiment_id, condition, count(duration_ms) AS calls, avg(duration_ms) AS mean_ms,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50_ms,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms,
       percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ms) AS p99_ms
FROM model_calls GROUP BY experiment, experiment_id, condition;

-- US dollars, by experiment and model that answered. A call without a price is counted, never free.
CREATE VIEW cost_by_model AS
SELECT experiment, experiment_id, provider, model, count(*) AS calls, count(cost_nano_usd) AS priced,
       count(*) - count(cost_nano_usd) AS unpriced, sum(cost_nano_usd) / 1e9 AS cost_usd,
       sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
FROM model_calls GROUP BY experiment, experiment_id, provider, model;
