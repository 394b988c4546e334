-- Of each GPU, host and part of a host as a whole device, whose inner edges cancel: its energy by what it was doing, its errors and
-- the gain of its sensor in ppm, -1 where it states none.

WITH device AS (
  SELECT site, class, cluster, node, device,
         sum(CASE WHEN state = 'active' THEN energy_uj ELSE 0 END) AS active_uj,
         sum(CASE WHEN state = 'idle' THEN energy_uj ELSE 0 END) AS idle_uj,
         sum(CASE WHEN state = 'unheld' THEN energy_uj ELSE 0 END) AS unallocated_uj,
         sum(CASE WHEN state IN ('active', 'idle', 'unheld') THEN 0 ELSE energy_uj END) AS unattributed_uj
  FROM classed GROUP BY site, class, cluster, node, device
), span AS (
  SELECT site, class, cluster, node, device, sum(edge_uj) AS edge_uj, sum(gap_bound_uj) AS gap_uj, sum(gap_ns) AS gap_ns,
         sum(metered_ns) AS metered_ns
  FROM classed_span WHERE workload = '' GROUP BY site, class, cluster, node, device
), whole AS (
  SELECT coalesce(d.site, s.site) AS site, coalesce(d.class, s.class) AS class, coalesce(d.cluster, s.cluster) AS cluster,
         coalesce(d.node, s.node) AS node, coalesce(d.device, s.device) AS device, coalesce(d.active_uj, 0) AS active_uj,
         coalesce(d.idle_uj, 0) AS idle_uj, coalesce(d.unallocated_uj, 0) AS unallocated_uj,
         coalesce(d.unattributed_uj, 0) AS unattributed_uj, coalesce(s.edge_uj, 0) AS edge_uj, coalesce(s.gap_uj, 0) AS gap_uj,
         coalesce(s.gap_ns, 0) AS gap_ns, coalesce(s.metered_ns, 0) AS metered_ns
  FROM device AS d FULL OUTER JOIN span AS s
    ON s.site = d.site AND s.cluster = d.cluster AND s.node = d.node AND s.device = d.device
)
SELECT w.*, coalesce(g.sku, '') AS sku, coalesce(g.gain_ppm, -1) AS gain_ppm, CASE WHEN o.device IS NULL THEN 0 ELSE 1 END AS open
FROM whole AS w LEFT JOIN gain AS g ON g.site = w.site AND g.device = w.device
LEFT JOIN open_device AS o ON o.site = w.site AND o.cluster = w.cluster AND o.node = w.node AND o.device = w.device
ORDER BY w.site, w.class, w.cluster, w.node, w.device;
