-- Tokens of each workload by day: a quarter's rows are read once for all that is asked of them.

CREATE OR REPLACE TABLE token_sum AS
SELECT site, day_ns, cluster, node, workload, model, phase, sum(tokens) AS tokens
FROM tokens_in GROUP BY site, day_ns, cluster, node, workload, model, phase;

CREATE OR REPLACE VIEW token_day AS SELECT * FROM token_sum;
