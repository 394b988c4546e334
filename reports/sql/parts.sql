-- Energy of each part of the fleet (one team, project, model, kind) on each device, with the gain of its sensor in ppm, -1 where it
-- states none. A device that had a gap without a bound at any time of the period is open for all who held it.

SELECT c.site, c.part, c.class, c.device, c.active_uj, c.idle_uj, c.active_edge_uj, c.idle_edge_uj, c.gpu_ns,
       coalesce(g.gain_ppm, -1) AS gain_ppm, CASE WHEN o.device IS NULL THEN 0 ELSE 1 END AS open
FROM (SELECT site, part, device, class,
             sum(CASE WHEN state = 'active' THEN energy_uj ELSE 0 END) AS active_uj,
             sum(CASE WHEN state = 'idle' THEN energy_uj ELSE 0 END) AS idle_uj,
             sum(CASE WHEN state = 'active' THEN edge_uj ELSE 0 END) AS active_edge_uj,
             sum(CASE WHEN state = 'idle' THEN edge_uj ELSE 0 END) AS idle_edge_uj,
             sum(gpu_ns) AS gpu_ns
      FROM classed WHERE state IN ('active', 'idle') GROUP BY site, part, device, class) AS c
LEFT JOIN gain AS g ON g.site = c.site AND g.device = c.device
LEFT JOIN (SELECT DISTINCT site, device FROM open_device) AS o ON o.site = c.site AND o.device = c.device
ORDER BY c.site, c.part, c.class, c.device;
