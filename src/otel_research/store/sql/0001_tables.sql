-- Experiments, spans and what is said of them. The other columns of spans and calls are added from
-- `spans.schema` (STORED and DERIVED), so that a later version adds to the table what it adds there.

CREATE TABLE experiments (
    id text PRIMARY KEY,
    name text NOT NULL,
    state text NOT NULL,
    study text,
    tags text[] NOT NULL,
    started_ns bigint NOT NULL,
    stopped_ns bigint,
    record text NOT NULL  -- the whole record, as JSON text
);

CREATE TABLE annotations (
    number bigint GENERATED ALWAYS AS IDENTITY,
    experiment_id text NOT NULL,
    digest bytea NOT NULL,  -- of the note: the same note again is not another one
    note text NOT NULL,
    PRIMARY KEY (experiment_id, digest)
);

-- What each process counted, and what its frames tell.
CREATE TABLE accounts (
    experiment_id text NOT NULL,
    writer text NOT NULL,
    counts text NOT NULL,
    PRIMARY KEY (experiment_id, writer)
);

CREATE TABLE spans (
    experiment_id text,
    trace_id bytea,
    span_id bytea,
    start_ns bigint,
    status text,
    attributes jsonb,       -- for queries: without what jsonb cannot hold
    attributes_text text,   -- as it was emitted
    exact text              -- JSON: columns whose text holds NUL, which PostgreSQL cannot
) PARTITION BY RANGE (start_ns);

CREATE UNIQUE INDEX spans_identity ON spans (experiment_id, trace_id, span_id, start_ns) NULLS NOT DISTINCT;

-- Spans without a start, or with one that no calendar knows.
CREATE TABLE spans_other PARTITION OF spans DEFAULT;

-- Which spans count as calls, and what they cost: needs other rows and a price table, so it is
-- computed when an experiment is stopped, with the prices named.
CREATE TABLE calls (
    experiment_id text,
    trace_id bytea,
    span_id bytea,
    start_ns bigint,
    prices text
);

CREATE UNIQUE INDEX calls_identity ON calls (experiment_id, trace_id, span_id, start_ns) NULLS NOT DISTINCT;

-- JSON that jsonb refuses (\u0000, lone surrogates, nesting beyond its depth) without what it refuses.
CREATE FUNCTION as_jsonb(raw text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN raw::jsonb;
EXCEPTION WHEN OTHERS THEN
    BEGIN
        RETURN regexp_replace(replace(raw, '\u0000', '\u2400'), '\\u[dD][89a-fA-F][0-9a-fA-F]{2}', '\\ufffd', 'g')::jsonb;
    EXCEPTION WHEN OTHERS THEN
        RETURN to_jsonb(raw);
    END;
END;
$$;
