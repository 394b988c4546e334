-- Energy that each team's workloads held, by UTC day, in whole microjoules: GPUs alone, of the newest statement of each day.
-- It runs as it is on DuckDB, Spark and Trino; the views `holder_day` and `workload` are made per engine (docs/report-sql.md).

WITH newest AS (
  SELECT site, day, max(statement) AS statement FROM holder_day GROUP BY site, day
), fact AS (
  SELECT site, day, statement, cluster, node, workload, max_by(labels, since_ns) AS labels
  FROM workload GROUP BY site, day, statement, cluster, node, workload
)
SELECT h.day, coalesce(nullif(regexp_extract(f.labels, '"team":"([^"]*)"', 1), ''), 'unassigned') AS team,
       sum(CAST(h.energy_uj AS DECIMAL(38, 0))) AS energy_uj,
       sum(CAST(CASE WHEN h.state = 'active' THEN h.energy_uj ELSE 0 END AS DECIMAL(38, 0))) AS active_uj,
       sum(h.gpu_ns) / 3.6E12 AS gpu_hours
FROM holder_day AS h
JOIN newest AS n ON n.site = h.site AND n.day = h.day AND n.statement = h.statement
LEFT JOIN fact AS f ON f.site = h.site AND f.day = h.day AND f.statement = h.statement
                   AND f.cluster = h.cluster AND f.node = h.node AND f.workload = h.workload
WHERE h.workload <> '' AND h.device NOT LIKE 'host:%' AND h.device NOT LIKE 'meter:%'
GROUP BY h.day, coalesce(nullif(regexp_extract(f.labels, '"team":"([^"]*)"', 1), ''), 'unassigned')
ORDER BY h.day, team
