-- Of each part of the fleet (one team, project, model, kind): energy of its GPUs and hosts with the three kinds of error.
-- A gain error is a bound per board, rounded up, and adds up; a device that states none has a gain_ppm of NULL. A device that had
-- a gap without a bound at any time of the period is open for all who held it.

WITH device AS (
  SELECT site, part, device, class,
         sum(CASE WHEN state = 'active' THEN energy_uj ELSE 0 END) AS active_uj,
         sum(CASE WHEN state = 'idle' THEN energy_uj ELSE 0 END) AS idle_uj,
         sum(CASE WHEN state = 'active' THEN edge_uj ELSE 0 END) AS active_edge_uj,
         sum(CASE WHEN state = 'idle' THEN edge_uj ELSE 0 END) AS idle_edge_uj,
         sum(gpu_ns) AS gpu_ns
  FROM classed WHERE state IN ('active', 'idle') GROUP BY site, part, device, class
), gained AS (
  SELECT d.*, g.gain_ppm, o.device AS open FROM device AS d LEFT JOIN gain AS g ON g.site = d.site AND g.device = d.device
  LEFT JOIN (SELECT DISTINCT site, device FROM open_device) AS o ON o.site = d.site AND o.device = d.device
), energy AS (
  SELECT site, part, class, sum(active_uj) AS active_uj, sum(idle_uj) AS idle_uj, sum(active_edge_uj) AS active_edge_uj,
         sum(idle_edge_uj) AS idle_edge_uj,
         sum(gpu_ns) AS gpu_ns, count(*) AS devices, count(*) - count(gain_ppm) AS unbounded, count(open) AS open,
         coalesce(sum((active_uj * gain_ppm + 999999 - gain_ppm) // (1000000 - gain_ppm)), 0) AS active_gain_uj,
         coalesce(sum((idle_uj * gain_ppm + 999999 - gain_ppm) // (1000000 - gain_ppm)), 0) AS idle_gain_uj,
         coalesce(sum(((active_uj + idle_uj) * gain_ppm + 999999 - gain_ppm) // (1000000 - gain_ppm)), 0) AS held_gain_uj
  FROM gained GROUP BY site, part, class
), edges AS (
  SELECT site, part, class, sum(edge_uj) AS held_edge_uj, sum(gap_bound_uj) AS gap_uj
  FROM classed_span WHERE workload <> '' GROUP BY site, part, class
)
SELECT e.site, e.part, e.class, e.active_uj, e.idle_uj, e.active_edge_uj, e.idle_edge_uj, e.active_gain_uj, e.idle_gain_uj, e.held_gain_uj,
       coalesce(s.held_edge_uj, 0) AS held_edge_uj, coalesce(s.gap_uj, 0) AS gap_uj, e.gpu_ns, e.devices, e.unbounded, e.open
FROM energy AS e LEFT JOIN edges AS s ON s.site = e.site AND s.part = e.part AND s.class = e.class
ORDER BY e.site, e.part, e.class;
