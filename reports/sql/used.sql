-- Energy of each holder of a device over the period, and the edge errors that are left of it. Neighbouring pieces share a reading:
-- its error cancels, of a holder as far as both sides state the same bound (energy_agent/ledger/rows/uncertainty.py). A piece that
-- begins before another has ended (late data, a clock that was set back) shares none for certain, on either side.
--
-- Pieces are told apart by numbers: a fleet's quarter has millions, and their names are long. `stray` is the name of a workload
-- that no day's facts have a number for. Pieces that come one after the other, as nearly all do, are summed at once; only of what
-- overlaps (`late`) is it asked how far earlier pieces had reached.

CREATE OR REPLACE TABLE thing AS
SELECT row_number() OVER (ORDER BY site, cluster, node, device) AS thing, site, cluster, node, device
FROM (SELECT site, cluster, node, device FROM holder_piece UNION SELECT site, cluster, node, device FROM span_piece) AS named;

CREATE OR REPLACE VIEW holder_run AS
SELECT t.thing, coalesce(w.part, 0) AS part, coalesce(w.holder, 0) AS holder,
       CASE WHEN w.holder IS NULL THEN p.workload ELSE '' END AS stray, p.state, p.method, p.energy_uj, p.gpu_ns,
       p.start_ns, p.end_ns, p.edge_first_uj AS first_uj, p.edge_inner_uj AS inner_uj, p.edge_last_uj AS last_uj
FROM holder_piece AS p
JOIN thing AS t ON t.site = p.site AND t.cluster = p.cluster AND t.node = p.node AND t.device = p.device
LEFT JOIN who AS w ON w.day_ns = p.day_ns AND w.cluster = p.cluster AND w.node = p.node AND w.workload = p.workload;

CREATE OR REPLACE TABLE holder_sum AS
WITH joined AS (
  SELECT *, lag(end_ns) OVER pieces AS before_ns, lag(last_uj) OVER pieces AS before_uj
  FROM holder_run
  WINDOW pieces AS (PARTITION BY thing, part, holder, stray, state, method ORDER BY start_ns, end_ns, first_uj, inner_uj, last_uj)
)
SELECT thing, part, holder, stray, state, method, sum(energy_uj) AS energy_uj, sum(gpu_ns) AS gpu_ns,
       sum(first_uj) + sum(inner_uj) + sum(last_uj)
       - sum(CASE WHEN start_ns = before_ns AND first_uj > 0 AND before_uj > 0
                  THEN CASE WHEN first_uj = before_uj THEN CAST(first_uj AS DECIMAL(38, 0)) + before_uj
                            ELSE least(first_uj, before_uj) END
                  ELSE 0 END) AS edge_uj,
       max(CASE WHEN start_ns < before_ns THEN 1 ELSE 0 END) AS late
FROM joined
GROUP BY thing, part, holder, stray, state, method;

CREATE OR REPLACE TABLE holder_late AS
WITH reached AS (
  SELECT r.*, max(r.end_ns) OVER (PARTITION BY r.thing, r.part, r.holder, r.stray, r.state, r.method
                                  ORDER BY r.start_ns, r.end_ns, r.first_uj, r.inner_uj, r.last_uj
                                  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached_ns
  FROM holder_run AS r
  JOIN (SELECT * FROM holder_sum WHERE late = 1) AS s
    ON s.thing = r.thing AND s.part = r.part AND s.holder = r.holder AND s.stray = r.stray AND s.state = r.state
   AND s.method = r.method
), joined AS (
  SELECT *, lag(CASE WHEN start_ns < reached_ns THEN NULL ELSE end_ns END) OVER pieces AS before_ns,
         lag(last_uj) OVER pieces AS before_uj
  FROM reached
  WINDOW pieces AS (PARTITION BY thing, part, holder, stray, state, method ORDER BY start_ns, end_ns, first_uj, inner_uj, last_uj)
)
SELECT thing, part, holder, stray, state, method,
       sum(first_uj) + sum(inner_uj) + sum(last_uj)
       - sum(CASE WHEN start_ns = before_ns AND start_ns = reached_ns AND first_uj > 0 AND before_uj > 0
                  THEN CASE WHEN first_uj = before_uj THEN CAST(first_uj AS DECIMAL(38, 0)) + before_uj
                            ELSE least(first_uj, before_uj) END
                  ELSE 0 END) AS edge_uj
FROM joined
GROUP BY thing, part, holder, stray, state, method;

CREATE OR REPLACE TABLE used AS
SELECT t.site, s.part, t.cluster, t.node, t.device, coalesce(h.workload, s.stray) AS workload, s.state, s.method,
       s.energy_uj, s.gpu_ns, coalesce(l.edge_uj, s.edge_uj) AS edge_uj
FROM holder_sum AS s
JOIN thing AS t ON t.thing = s.thing
LEFT JOIN (SELECT DISTINCT holder, workload FROM who) AS h ON h.holder = s.holder
LEFT JOIN holder_late AS l
  ON l.thing = s.thing AND l.part = s.part AND l.holder = s.holder AND l.stray = s.stray AND l.state = s.state
 AND l.method = s.method;

CREATE OR REPLACE VIEW span_run AS
SELECT t.thing, coalesce(w.part, 0) AS part, coalesce(w.holder, 0) AS holder,
       CASE WHEN w.holder IS NULL THEN p.workload ELSE '' END AS stray, p.metered_ns, p.gap_bound_uj, p.gap_ns,
       p.start_ns, p.end_ns, p.edge_first_uj AS first_uj, p.edge_inner_uj AS inner_uj, p.edge_last_uj AS last_uj,
       CASE WHEN p.workload = '' THEN 1 ELSE 0 END AS alone
FROM span_piece AS p
JOIN thing AS t ON t.site = p.site AND t.cluster = p.cluster AND t.node = p.node AND t.device = p.device
LEFT JOIN who AS w ON w.day_ns = p.day_ns AND w.cluster = p.cluster AND w.node = p.node AND w.workload = p.workload;

CREATE OR REPLACE TABLE span_sum AS
WITH joined AS (
  SELECT *, lag(end_ns) OVER pieces AS before_ns, lag(last_uj) OVER pieces AS before_uj
  FROM span_run
  WINDOW pieces AS (PARTITION BY thing, part, holder, stray ORDER BY start_ns, end_ns, first_uj, inner_uj, last_uj)
)
SELECT thing, part, holder, stray, sum(metered_ns) AS metered_ns, sum(gap_bound_uj) AS gap_bound_uj, sum(gap_ns) AS gap_ns,
       min(CASE WHEN start_ns > 0 THEN start_ns END) AS first_ns, max(end_ns) AS last_ns,
       sum(first_uj) + sum(inner_uj) + sum(last_uj)
       - sum(CASE WHEN start_ns = before_ns AND first_uj > 0 AND before_uj > 0
                  THEN CASE WHEN alone = 1 OR first_uj = before_uj THEN CAST(first_uj AS DECIMAL(38, 0)) + before_uj
                            ELSE least(first_uj, before_uj) END
                  ELSE 0 END) AS edge_uj,
       max(CASE WHEN start_ns < before_ns THEN 1 ELSE 0 END) AS late
FROM joined
GROUP BY thing, part, holder, stray;

CREATE OR REPLACE TABLE span_late AS
WITH reached AS (
  SELECT r.*, max(r.end_ns) OVER (PARTITION BY r.thing, r.part, r.holder, r.stray
                                  ORDER BY r.start_ns, r.end_ns, r.first_uj, r.inner_uj, r.last_uj
                                  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached_ns
  FROM span_run AS r
  JOIN (SELECT * FROM span_sum WHERE late = 1) AS s
    ON s.thing = r.thing AND s.part = r.part AND s.holder = r.holder AND s.stray = r.stray
), joined AS (
  SELECT *, lag(CASE WHEN start_ns < reached_ns THEN NULL ELSE end_ns END) OVER pieces AS before_ns,
         lag(last_uj) OVER pieces AS before_uj
  FROM reached
  WINDOW pieces AS (PARTITION BY thing, part, holder, stray ORDER BY start_ns, end_ns, first_uj, inner_uj, last_uj)
)
SELECT thing, part, holder, stray,
       sum(first_uj) + sum(inner_uj) + sum(last_uj)
       - sum(CASE WHEN start_ns = before_ns AND start_ns = reached_ns AND first_uj > 0 AND before_uj > 0
                  THEN CASE WHEN alone = 1 OR first_uj = before_uj THEN CAST(first_uj AS DECIMAL(38, 0)) + before_uj
                            ELSE least(first_uj, before_uj) END
                  ELSE 0 END) AS edge_uj
FROM joined
GROUP BY thing, part, holder, stray;

CREATE OR REPLACE TABLE spanned AS
SELECT t.site, s.part, t.cluster, t.node, t.device, coalesce(h.workload, s.stray) AS workload,
       s.metered_ns, s.gap_bound_uj, s.gap_ns, s.first_ns, s.last_ns, coalesce(l.edge_uj, s.edge_uj) AS edge_uj
FROM span_sum AS s
JOIN thing AS t ON t.thing = s.thing
LEFT JOIN (SELECT DISTINCT holder, workload FROM who) AS h ON h.holder = s.holder
LEFT JOIN span_late AS l ON l.thing = s.thing AND l.part = s.part AND l.holder = s.holder AND l.stray = s.stray;
