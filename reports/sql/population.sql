-- The cells of GPUs and whole hosts in the sites' periods, which a sample is drawn of.
CREATE OR REPLACE VIEW population AS
SELECT c.*, d.site, CASE WHEN c.device LIKE 'host:%' THEN 'host' ELSE 'gpu' END AS class
FROM sampled_file AS c JOIN sampled_day AS d ON c.filename = d.path
WHERE c.cell_start_ns >= d.from_ns AND c.cell_start_ns < d.to_ns
  AND c.device NOT LIKE 'meter:%' AND NOT (c.device LIKE 'host:%' AND c.device LIKE '%/%');
