-- Restricts the pieces of a period to one job's workloads (the table `member`), and to whole devices: those of the nodes that the
-- job used, on the days of that use. `job_device` has the devices that it used, at any time and on any node: none may be metered twice.

CREATE OR REPLACE TABLE job_holder AS
SELECT p.* FROM holder_piece AS p
JOIN member AS m ON m.cluster = p.cluster AND m.node = p.node AND m.workload = p.workload;

CREATE OR REPLACE TABLE job_use AS
SELECT DISTINCT day_ns, cluster, node FROM job_holder
WHERE device NOT LIKE 'meter:%' AND NOT (device LIKE 'host:%' AND device LIKE '%/%');

CREATE OR REPLACE TABLE job_span AS
SELECT p.* FROM span_piece AS p
JOIN member AS m ON m.cluster = p.cluster AND m.node = p.node AND m.workload = p.workload
UNION ALL
SELECT p.* FROM span_piece AS p
JOIN job_use AS u ON u.day_ns = p.day_ns AND u.cluster = p.cluster AND u.node = p.node
WHERE p.workload = '';

CREATE OR REPLACE TABLE job_device AS
SELECT p.* FROM span_piece AS p
WHERE p.workload = '' AND p.device IN (SELECT device FROM job_holder WHERE device <> '');

CREATE OR REPLACE TABLE who AS
SELECT u.day_ns, m.cluster, m.node, m.workload, 1 AS part, m.holder, 0 AS name
FROM member AS m
JOIN (SELECT day_ns, cluster, node, workload FROM holder_piece UNION SELECT day_ns, cluster, node, workload FROM tokens_in
      UNION SELECT day_ns, cluster, node, workload FROM span_piece) AS u
  ON u.cluster = m.cluster AND u.node = m.node AND u.workload = m.workload;

CREATE OR REPLACE VIEW holder_piece AS SELECT * FROM job_holder;

CREATE OR REPLACE VIEW span_piece AS SELECT * FROM job_device;

CREATE OR REPLACE TABLE thing AS
SELECT row_number() OVER (ORDER BY site, cluster, node, device) AS thing, site, cluster, node, device
FROM (SELECT DISTINCT site, cluster, node, device FROM job_device) AS named;
