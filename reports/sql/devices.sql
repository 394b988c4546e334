-- Of each GPU and host as a whole device: its energy by what it was doing, with the three kinds of error (see parts.sql).

WITH device AS (
  SELECT site, class, cluster, node, device,
         sum(CASE WHEN state = 'active' THEN energy_uj ELSE 0 END) AS active_uj,
         sum(CASE WHEN state = 'idle' THEN energy_uj ELSE 0 END) AS idle_uj,
         sum(CASE WHEN state = 'unheld' THEN energy_uj ELSE 0 END) AS unallocated_uj,
         sum(CASE WHEN state IN ('active', 'idle', 'unheld') THEN 0 ELSE energy_uj END) AS unattributed_uj,
         sum(energy_uj) AS energy_uj
  FROM classed WHERE class <> 'part' GROUP BY site, class, cluster, node, device
), span AS (
  SELECT site, class, cluster, node, device, sum(edge_uj) AS edge_uj, sum(gap_bound_uj) AS gap_uj
  FROM classed_span WHERE workload = '' AND class <> 'part' GROUP BY site, class, cluster, node, device
), whole AS (
  SELECT coalesce(d.site, s.site) AS site, coalesce(d.class, s.class) AS class, coalesce(d.cluster, s.cluster) AS cluster,
         coalesce(d.node, s.node) AS node, coalesce(d.device, s.device) AS device, coalesce(d.active_uj, 0) AS active_uj,
         coalesce(d.idle_uj, 0) AS idle_uj, coalesce(d.unallocated_uj, 0) AS unallocated_uj,
         coalesce(d.unattributed_uj, 0) AS unattributed_uj, coalesce(d.energy_uj, 0) AS energy_uj,
         coalesce(s.edge_uj, 0) AS edge_uj, coalesce(s.gap_uj, 0) AS gap_uj
  FROM device AS d FULL OUTER JOIN span AS s
    ON s.site = d.site AND s.cluster = d.cluster AND s.node = d.node AND s.device = d.device
)
SELECT w.site, w.class, w.cluster, w.node, w.device, w.active_uj, w.idle_uj, w.unallocated_uj, w.unattributed_uj, w.edge_uj, w.gap_uj,
       coalesce((w.energy_uj * g.gain_ppm + 999999 - g.gain_ppm) // (1000000 - g.gain_ppm), 0) AS gain_uj,
       CASE WHEN g.gain_ppm IS NULL THEN 1 ELSE 0 END AS unbounded, CASE WHEN o.device IS NULL THEN 0 ELSE 1 END AS open
FROM whole AS w LEFT JOIN gain AS g ON g.site = w.site AND g.device = w.device
LEFT JOIN open_device AS o ON o.site = w.site AND o.cluster = w.cluster AND o.node = w.node AND o.device = w.device
ORDER BY w.site, w.class, w.cluster, w.node, w.device;
