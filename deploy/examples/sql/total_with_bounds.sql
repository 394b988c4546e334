-- Energy of all GPUs with its bounds, in whole microjoules. Neighbouring stretches of a device share a reading, whose error cancels;
-- the gain of its sensor adds up; what no sensor saw raises the upper bound alone (docs/ledger.md, Uncertainty).
-- It runs as it is on DuckDB, Spark and Trino; the views `holder_day`, `span_day` and `device` are made per engine (docs/report-sql.md).

WITH newest AS (
  SELECT site, day, max(statement) AS statement FROM holder_day GROUP BY site, day
), energy AS (
  SELECT h.cluster, h.node, h.device, sum(CAST(h.energy_uj AS DECIMAL(38, 0))) AS energy_uj
  FROM holder_day AS h JOIN newest AS n ON n.site = h.site AND n.day = h.day AND n.statement = h.statement
  WHERE h.device NOT LIKE 'host:%' AND h.device NOT LIKE 'meter:%'
  GROUP BY h.cluster, h.node, h.device
), stretch AS (
  SELECT s.cluster, s.node, s.device, s.start_ns, s.end_ns, s.edge_inner_uj, s.gap_bound_uj,
         CAST(s.edge_first_uj AS DECIMAL(38, 0)) AS first_uj, CAST(s.edge_last_uj AS DECIMAL(38, 0)) AS last_uj,
         max(s.end_ns) OVER (PARTITION BY s.cluster, s.node, s.device
                             ORDER BY s.start_ns, s.end_ns, s.edge_first_uj, s.edge_inner_uj, s.edge_last_uj
                             ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached_ns
  FROM span_day AS s JOIN newest AS n ON n.site = s.site AND n.day = s.day AND n.statement = s.statement
  WHERE s.workload = '' AND s.device NOT LIKE 'host:%' AND s.device NOT LIKE 'meter:%'
), joined AS (
  SELECT cluster, node, device, start_ns, reached_ns, first_uj, first_uj + edge_inner_uj + last_uj AS edge_uj, gap_bound_uj,
         lag(CASE WHEN start_ns < reached_ns THEN NULL ELSE end_ns END)
           OVER (PARTITION BY cluster, node, device ORDER BY start_ns, end_ns, first_uj, edge_inner_uj, last_uj) AS before_ns,
         lag(last_uj)
           OVER (PARTITION BY cluster, node, device ORDER BY start_ns, end_ns, first_uj, edge_inner_uj, last_uj) AS before_uj
  FROM stretch
), edge AS (
  SELECT cluster, node, device, sum(CAST(gap_bound_uj AS DECIMAL(38, 0))) AS gap_uj,
         sum(edge_uj) - sum(CASE WHEN start_ns = before_ns AND start_ns = reached_ns AND first_uj > 0 AND before_uj > 0
                                 THEN first_uj + before_uj ELSE CAST(0 AS DECIMAL(38, 0)) END) AS edge_uj
  FROM joined GROUP BY cluster, node, device
), gain AS (
  SELECT cluster, node, device, max(gain_ppm) AS gain_ppm FROM device GROUP BY cluster, node, device
)
SELECT count(*) AS devices, sum(e.energy_uj) AS energy_uj,
       sum(e.energy_uj) - sum(s.edge_uj) - sum(ceil(CAST(e.energy_uj AS DOUBLE) * g.gain_ppm / (1000000 - g.gain_ppm))) AS low_uj,
       sum(e.energy_uj) + sum(s.edge_uj) + sum(s.gap_uj)
         + sum(ceil(CAST(e.energy_uj AS DOUBLE) * g.gain_ppm / (1000000 - g.gain_ppm))) AS high_uj
FROM energy AS e
JOIN edge AS s ON s.cluster = e.cluster AND s.node = e.node AND s.device = e.device
JOIN gain AS g ON g.cluster = e.cluster AND g.node = e.node AND g.device = e.device
