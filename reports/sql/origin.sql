-- imported: energy of GPUs whose rows came from a Prometheus (wattlens ledger import), by site.
SELECT c.site, sum(c.energy_uj) AS energy_uj
FROM classed AS c
WHERE c.class = 'gpu' AND EXISTS (
  SELECT 1 FROM all_workload AS w
  WHERE w.workload_kind = 'import' AND w.cluster = c.cluster AND w.node = c.node AND w.workload = c.device)
GROUP BY c.site ORDER BY c.site;

-- twice: devices that two chains tell of, or that stand at two sites, at the same time; most are of one chain and site, and are
-- not looked at.
SELECT device, site, cluster, node, before_site, before_cluster, before_node, start_ns
FROM (SELECT device, site, cluster, node, start_ns, end_ns, lag(site) OVER times AS before_site,
             lag(cluster) OVER times AS before_cluster, lag(node) OVER times AS before_node, lag(end_ns) OVER times AS before_ns
      FROM span_piece
      WHERE workload = '' AND start_ns > 0 AND device NOT LIKE 'meter:%'
        AND device IN (SELECT device FROM thing GROUP BY device HAVING count(*) > 1)
      WINDOW times AS (PARTITION BY device ORDER BY start_ns, end_ns, site, cluster, node)) AS pieces
WHERE before_ns > start_ns AND (cluster <> before_cluster OR node <> before_node OR site <> before_site)
ORDER BY device, start_ns LIMIT 1;
