-- What used.sql makes, without the edge errors, which cost most of its time: of periods that are compared with, no bounds are told.

CREATE OR REPLACE TABLE thing AS
SELECT row_number() OVER (ORDER BY site, cluster, node, device) AS thing, site, cluster, node, device
FROM (SELECT site, cluster, node, device FROM holder_piece UNION SELECT site, cluster, node, device FROM span_piece) AS named;

CREATE OR REPLACE TABLE used AS
SELECT p.site, coalesce(w.part, 0) AS part, p.cluster, p.node, p.device, p.workload, p.state, p.method,
       sum(p.energy_uj) AS energy_uj, sum(p.gpu_ns) AS gpu_ns, 0 AS edge_uj
FROM holder_piece AS p
LEFT JOIN who AS w ON w.day_ns = p.day_ns AND w.cluster = p.cluster AND w.node = p.node AND w.workload = p.workload
GROUP BY p.site, coalesce(w.part, 0), p.cluster, p.node, p.device, p.workload, p.state, p.method;

CREATE OR REPLACE TABLE spanned AS
SELECT p.site, coalesce(w.part, 0) AS part, p.cluster, p.node, p.device, p.workload,
       sum(p.metered_ns) AS metered_ns, sum(p.gap_bound_uj) AS gap_bound_uj, sum(p.gap_ns) AS gap_ns,
       min(CASE WHEN p.start_ns > 0 THEN p.start_ns END) AS first_ns, max(p.end_ns) AS last_ns, 0 AS edge_uj
FROM span_piece AS p
LEFT JOIN who AS w ON w.day_ns = p.day_ns AND w.cluster = p.cluster AND w.node = p.node AND w.workload = p.workload
GROUP BY p.site, coalesce(w.part, 0), p.cluster, p.node, p.device, p.workload;
