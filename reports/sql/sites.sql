-- Of each site: all energy of its GPUs, hosts and parts of hosts as whole devices, whose inner edges cancel.

WITH device AS (
  SELECT site, class, cluster, node, device, sum(energy_uj) AS energy_uj
  FROM classed GROUP BY site, class, cluster, node, device
), span AS (
  SELECT site, class, cluster, node, device, sum(edge_uj) AS edge_uj, sum(gap_bound_uj) AS gap_uj, sum(gap_ns) AS gap_ns,
         sum(metered_ns) AS metered_ns
  FROM classed_span WHERE workload = '' GROUP BY site, class, cluster, node, device
), whole AS (
  SELECT coalesce(d.site, s.site) AS site, coalesce(d.class, s.class) AS class, coalesce(d.device, s.device) AS device,
         coalesce(d.node, s.node) AS node, coalesce(d.cluster, s.cluster) AS cluster,
         coalesce(d.energy_uj, 0) AS energy_uj, coalesce(s.edge_uj, 0) AS edge_uj, coalesce(s.gap_uj, 0) AS gap_uj,
         coalesce(s.gap_ns, 0) AS gap_ns, coalesce(s.metered_ns, 0) AS metered_ns
  FROM device AS d FULL OUTER JOIN span AS s
    ON s.site = d.site AND s.cluster = d.cluster AND s.node = d.node AND s.device = d.device
)
SELECT w.site, w.class, coalesce(g.sku, '') AS sku, sum(w.energy_uj) AS energy_uj, sum(w.edge_uj) AS edge_uj,
       sum(w.gap_uj) AS gap_uj, sum(w.gap_ns) AS gap_ns, sum(w.metered_ns) AS metered_ns, count(DISTINCT w.device) AS devices,
       count(DISTINCT w.cluster || '/' || w.node) AS nodes, count(*) - count(g.gain_ppm) AS unbounded,
       coalesce(sum((w.energy_uj * g.gain_ppm + 999999 - g.gain_ppm) // (1000000 - g.gain_ppm)), 0) AS gain_uj,
       count(o.device) AS open
FROM whole AS w LEFT JOIN gain AS g ON g.site = w.site AND g.device = w.device
LEFT JOIN open_device AS o ON o.site = w.site AND o.cluster = w.cluster AND o.node = w.node AND o.device = w.device
GROUP BY w.site, w.class, coalesce(g.sku, '')
ORDER BY w.site, w.class, sku;
