-- Energy of each part of the fleet by cell.

CREATE OR REPLACE TABLE cell_sum AS
SELECT c.site, c.day_ns, c.cell_start_ns, coalesce(w.part, 0) AS part, sum(c.active_uj) AS active_uj, sum(c.idle_uj) AS idle_uj,
       sum(c.other_uj) AS other_uj, sum(c.host_uj) AS host_uj
FROM cell_in AS c
LEFT JOIN who AS w ON w.day_ns = c.day_ns AND w.cluster = c.cluster AND w.node = c.node AND w.workload = c.workload
GROUP BY c.site, c.day_ns, c.cell_start_ns, coalesce(w.part, 0);
