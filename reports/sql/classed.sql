-- What a device is, by its name: a GPU, a whole host, a part of a host, or a meter of the building (energy_agent/core/boundary.py).

CREATE OR REPLACE VIEW classed AS
SELECT *, CASE WHEN device NOT LIKE 'host:%' THEN 'gpu' WHEN device LIKE '%/%' THEN 'part' ELSE 'host' END AS class
FROM used WHERE device NOT LIKE 'meter:%';

CREATE OR REPLACE VIEW classed_span AS
SELECT *, CASE WHEN device NOT LIKE 'host:%' THEN 'gpu' WHEN device LIKE '%/%' THEN 'part' ELSE 'host' END AS class
FROM spanned WHERE device NOT LIKE 'meter:%';

-- Hosts that were metered for less time than a GPU of their node, by more than a second and a thousandth, and no gap tells of it.
CREATE OR REPLACE VIEW short_host AS
SELECT h.site, h.cluster, h.node, h.device, g.metered_ns - h.metered_ns - h.gap_ns AS unseen_ns
FROM (SELECT site, cluster, node, device, sum(metered_ns) AS metered_ns, sum(gap_ns) AS gap_ns
      FROM classed_span WHERE class = 'host' AND workload = '' GROUP BY site, cluster, node, device) AS h
JOIN (SELECT site, cluster, node, max(metered_ns) AS metered_ns
      FROM (SELECT site, cluster, node, device, sum(metered_ns) AS metered_ns
            FROM classed_span WHERE class = 'gpu' AND workload = '' GROUP BY site, cluster, node, device) AS gpu
      GROUP BY site, cluster, node) AS g ON g.site = h.site AND g.cluster = h.cluster AND g.node = h.node
WHERE h.metered_ns > 0 AND 1000 * (g.metered_ns - h.metered_ns - h.gap_ns) > greatest(1000000000000, g.metered_ns);

-- Devices that may have drawn what nothing bounds while no sensor saw them (energy_agent/core/boundary.py, UNBOUNDED).
CREATE OR REPLACE VIEW open_device AS
SELECT site, cluster, node, device FROM gap_in WHERE reason LIKE 'no bound known: %' AND class <> 'meter'
UNION
SELECT site, cluster, node, device FROM short_host;
