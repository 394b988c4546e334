-- The pieces that a period is made of: day sums of the days that lie in it, rows of the days that its edges cut.
-- `file` says of which site, day and window each Parquet file is.

CREATE OR REPLACE VIEW holder_piece AS
SELECT f.site, f.day_ns, p.cluster, p.node, p.device, p.workload, p.state, p.method, p.energy_uj, p.gpu_ns,
       p.start_ns, p.end_ns, p.edge_first_uj, p.edge_inner_uj, p.edge_last_uj
FROM holder_day AS p JOIN file AS f ON f.path = p.filename
UNION ALL
SELECT f.site, f.day_ns, p.cluster, p.node, p.device, p.workload, p.state, p.method, p.energy_uj, p.gpu_ns,
       p.start_ns, p.end_ns, p.edge_first_uj, p.edge_inner_uj, p.edge_last_uj
FROM edge_cell AS p JOIN file AS f ON f.path = p.filename
WHERE p.cell_start_ns >= f.from_ns AND p.cell_start_ns < f.to_ns
UNION ALL
SELECT f.site, f.day_ns, p.cluster, p.node, p.device, p.workload, p.state, '' AS method, 0 AS energy_uj, p.gpu_ns,
       p.start_ns, p.end_ns, 0 AS edge_first_uj, 0 AS edge_inner_uj, 0 AS edge_last_uj
FROM edge_time AS p JOIN file AS f ON f.path = p.filename
WHERE p.cell_start_ns >= f.from_ns AND p.cell_start_ns < f.to_ns;

CREATE OR REPLACE VIEW edge_gap_in AS
SELECT f.site, f.day_ns, p.cluster, p.node, p.device, p.cell_start_ns, p.start_ns, p.end_ns, p.bound_uj
FROM edge_gap AS p JOIN file AS f ON f.path = p.filename
WHERE p.cell_start_ns >= f.from_ns AND p.cell_start_ns < f.to_ns;

CREATE OR REPLACE VIEW edge_span_in AS
SELECT f.site, f.day_ns, p.cluster, p.node, p.device, p.workload, p.cell_start_ns,
       p.start_ns, p.end_ns, p.edge_first_uj, p.edge_inner_uj, p.edge_last_uj
FROM edge_span AS p JOIN file AS f ON f.path = p.filename
WHERE p.cell_start_ns >= f.from_ns AND p.cell_start_ns < f.to_ns;

-- What was metered and what was unseen in the cells of cut days stands in rows without edges, which sort before all others.
CREATE OR REPLACE VIEW span_piece AS
SELECT f.site, f.day_ns, p.cluster, p.node, p.device, p.workload, p.start_ns, p.end_ns,
       p.edge_first_uj, p.edge_inner_uj, p.edge_last_uj, p.metered_ns, p.gap_bound_uj, p.gap_ns
FROM span_day AS p JOIN file AS f ON f.path = p.filename
UNION ALL
SELECT site, day_ns, cluster, node, device, workload, start_ns, end_ns, edge_first_uj, edge_inner_uj, edge_last_uj, 0, 0, 0
FROM edge_span_in
UNION ALL
SELECT s.site, s.day_ns, s.cluster, s.node, s.device, '', 0, 0, 0, 0, 0, greatest(0, s.metered_ns - coalesce(g.both_ns, 0)), 0, 0
FROM (SELECT site, day_ns, cluster, node, device, cell_start_ns, sum(end_ns - start_ns) AS metered_ns
      FROM edge_span_in WHERE workload = '' GROUP BY site, day_ns, cluster, node, device, cell_start_ns) AS s
LEFT JOIN (SELECT a.cluster, a.node, a.device, a.cell_start_ns,
                  sum(greatest(0, least(a.end_ns, b.end_ns) - greatest(a.start_ns, b.start_ns))) AS both_ns
           FROM edge_span_in AS a JOIN edge_gap_in AS b
             ON a.cluster = b.cluster AND a.node = b.node AND a.device = b.device AND a.cell_start_ns = b.cell_start_ns
           WHERE a.workload = '' GROUP BY a.cluster, a.node, a.device, a.cell_start_ns) AS g
  ON g.cluster = s.cluster AND g.node = s.node AND g.device = s.device AND g.cell_start_ns = s.cell_start_ns
UNION ALL
SELECT site, day_ns, cluster, node, device, '', 0, 0, 0, 0, 0, 0, bound_uj, end_ns - start_ns
FROM edge_gap_in
UNION ALL
SELECT h.site, h.day_ns, h.cluster, h.node, h.device, h.workload, 0, 0, 0, 0, 0, 0, g.bound_uj, 0
FROM (SELECT DISTINCT site, day_ns, cluster, node, device, workload, cell_start_ns FROM edge_span_in WHERE workload <> '') AS h
JOIN edge_gap_in AS g
  ON g.cluster = h.cluster AND g.node = h.node AND g.device = h.device AND g.cell_start_ns = h.cell_start_ns;
