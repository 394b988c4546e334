-- Rows of experiments of which analyses can be in the period (`savings_period`), each placed within the quarter of its experiment: what
-- closes one is written after the quarter's end. `quarter` has the quarters that the period touches.

CREATE OR REPLACE VIEW analysis_at AS
SELECT f.site, f.day_ns, p.cluster, p.node, p.group_name, p.since_ns, p.number, p.saved_uj, p.low_uj, p.high_uj, p.claimed_uj,
       p.lost_uj, p.slowdown_ppm, p.slowdown_low_ppm, p.slowdown_high_ppm, p.slowdown_of, p.reason,
       CASE WHEN greatest(q.start_ns, least(p.t_ns, q.end_ns - 1)) >= t.start_ns THEN 1 ELSE 0 END AS inside
FROM proof_analysis AS p
JOIN file AS f ON f.path = p.filename
JOIN quarter AS q ON p.since_ns >= q.start_ns AND p.since_ns < q.end_ns
JOIN savings_period AS t ON greatest(q.start_ns, least(p.t_ns, q.end_ns - 1)) < t.end_ns;

CREATE OR REPLACE VIEW pair_at AS
SELECT f.site, f.day_ns, p.excluded
FROM proof_pair AS p
JOIN file AS f ON f.path = p.filename
JOIN quarter AS q ON p.since_ns >= q.start_ns AND p.since_ns < q.end_ns
JOIN savings_period AS t ON greatest(q.start_ns, least(p.t_ns, q.end_ns - 1)) < t.end_ns
              AND greatest(q.start_ns, least(p.t_ns, q.end_ns - 1)) >= t.start_ns;

CREATE OR REPLACE TABLE experiment AS
SELECT cluster, node, group_name, since_ns, count(*) AS analyses, count(DISTINCT number) AS different, max(number) AS latest,
       sum(CASE WHEN inside = 1 THEN claimed_uj ELSE 0 END) AS claimed_uj,
       sum(CASE WHEN inside = 1 THEN lost_uj ELSE 0 END) AS lost_uj,
       sum(claimed_uj) AS all_claimed_uj
FROM analysis_at
GROUP BY cluster, node, group_name, since_ns
HAVING sum(inside) > 0;
