-- Small answers, one statement each; the name of each stands in the comment before it.

-- states: energy of each device by what the ledger calls it, with the edges of the rows themselves and the gain of its sensor.
SELECT c.site, c.class, c.state, c.method, c.energy_uj, c.edge_uj, coalesce(g.gain_ppm, -1) AS gain_ppm
FROM (SELECT site, class, device, state, method, sum(energy_uj) AS energy_uj, sum(edge_uj) AS edge_uj
      FROM classed WHERE method <> '' GROUP BY site, class, device, state, method) AS c
LEFT JOIN gain AS g ON g.site = c.site AND g.device = c.device
ORDER BY c.site, c.class, c.state, c.method, c.device;

-- part_edges: what is left of the edge errors of each part of the fleet, and what no sensor saw while it held devices.
SELECT site, part, class, sum(edge_uj) AS held_edge_uj, sum(gap_bound_uj) AS gap_uj
FROM classed_span WHERE workload <> '' GROUP BY site, part, class;

-- gaps: what no sensor saw, by reason.
SELECT site, class, reason, sum(bound_uj) AS bound_uj, sum(end_ns - start_ns) AS gap_ns, count(DISTINCT device) AS devices
FROM gap_in WHERE class <> 'meter' GROUP BY site, class, reason ORDER BY site, class, reason;

-- short_hosts: hosts that were metered for less time than the GPUs of their nodes.
SELECT site, sum(unseen_ns) AS unseen_ns, count(DISTINCT device) AS devices FROM short_host GROUP BY site ORDER BY site;

-- tokens: what was generated, prompted and so on.
SELECT t.site, coalesce(w.part, 0) AS part, t.model, t.phase, sum(t.tokens) AS tokens
FROM token_day AS t
LEFT JOIN who AS w ON w.day_ns = t.day_ns AND w.cluster = t.cluster AND w.node = t.node AND w.workload = t.workload
GROUP BY t.site, coalesce(w.part, 0), t.model, t.phase
ORDER BY t.site, part, t.model, t.phase;

-- steps: what was trained.
SELECT t.site, coalesce(w.part, 0) AS part, t.phase, sum(t.steps) AS steps
FROM steps_in AS t
LEFT JOIN who AS w ON w.day_ns = t.day_ns AND w.cluster = t.cluster AND w.node = t.node AND w.workload = t.workload
GROUP BY t.site, coalesce(w.part, 0), t.phase
ORDER BY t.site, part, t.phase;

-- actions: what DVFS did.
SELECT site, policy, action, outcome, count(*) AS actions
FROM action_in GROUP BY site, policy, action, outcome ORDER BY site, policy, action, outcome;

-- cells: energy of all GPUs and hosts by cell.
SELECT site, cell_start_ns, sum(CAST(active_uj AS DECIMAL(38, 0)) + idle_uj + other_uj) AS gpu_uj, sum(host_uj) AS host_uj
FROM cell_sum GROUP BY site, cell_start_ns ORDER BY site, cell_start_ns;

-- priced: energy of each part times a number of each cell, which is how grams and money are made of it, exactly; hosts apart.
SELECT site, part, sum(gpu_uj) AS gpu_uj, sum(host_uj) AS host_uj,
       sum(gpu_uj * coalesce(grams, 0)) AS gpu_grams, sum(host_uj * coalesce(grams, 0)) AS host_grams,
       sum(gpu_uj * coalesce(money, 0)) AS gpu_money, sum(host_uj * coalesce(money, 0)) AS host_money,
       sum(CASE WHEN grams IS NULL THEN gpu_uj ELSE 0 END) AS gpu_ungrammed_uj,
       sum(CASE WHEN grams IS NULL THEN host_uj ELSE 0 END) AS host_ungrammed_uj,
       sum(CASE WHEN money IS NULL THEN gpu_uj ELSE 0 END) AS gpu_unpriced_uj,
       sum(CASE WHEN money IS NULL THEN host_uj ELSE 0 END) AS host_unpriced_uj
FROM (SELECT c.site, c.part, p.grams, p.money, CAST(c.host_uj AS DECIMAL(38, 0)) AS host_uj,
             CAST(c.active_uj AS DECIMAL(38, 0)) + c.idle_uj + c.other_uj AS gpu_uj
      FROM cell_sum AS c
      LEFT JOIN price AS p ON p.site = c.site AND p.cell_start_ns = c.cell_start_ns) AS cell
GROUP BY site, part
ORDER BY site, part;

-- days: energy of the GPUs and hosts by day, and how much device time was metered.
SELECT e.site, e.day_ns, e.active_uj, e.idle_uj, e.other_uj, e.host_uj, coalesce(m.metered_ns, 0) AS metered_ns,
       coalesce(m.devices, 0) AS devices
FROM (SELECT site, day_ns, sum(active_uj) AS active_uj, sum(idle_uj) AS idle_uj, sum(other_uj) AS other_uj, sum(host_uj) AS host_uj
      FROM cell_sum GROUP BY site, day_ns) AS e
LEFT JOIN (SELECT site, day_ns, sum(metered_ns) AS metered_ns, count(DISTINCT device) AS devices
           FROM span_piece WHERE workload = '' AND device NOT LIKE 'host:%' AND device NOT LIKE 'meter:%'
           GROUP BY site, day_ns) AS m ON m.site = e.site AND m.day_ns = e.day_ns
ORDER BY e.site, e.day_ns;

-- largest: the workloads that used most, by their GPUs' energy; what people call alike is one, on however many nodes.
SELECT site, part, name, active_uj, idle_uj, gpu_ns
FROM (SELECT c.site, c.part, h.name, sum(CASE WHEN c.state = 'active' THEN c.energy_uj ELSE 0 END) AS active_uj,
             sum(CASE WHEN c.state = 'idle' THEN c.energy_uj ELSE 0 END) AS idle_uj, sum(c.gpu_ns) AS gpu_ns,
             sum(c.energy_uj) AS all_uj
      FROM classed AS c
      JOIN (SELECT DISTINCT cluster, node, workload, name FROM who) AS h
        ON h.cluster = c.cluster AND h.node = c.node AND h.workload = c.workload
      WHERE c.class = 'gpu' AND c.workload <> ''
      GROUP BY c.site, c.part, h.name) AS named
WHERE all_uj > 0
ORDER BY all_uj DESC, site, name, part
LIMIT 50;

-- idlest: the workloads that held devices without using them, by that energy.
SELECT site, part, name, active_uj, idle_uj, gpu_ns
FROM (SELECT c.site, c.part, h.name, sum(CASE WHEN c.state = 'active' THEN c.energy_uj ELSE 0 END) AS active_uj,
             sum(CASE WHEN c.state = 'idle' THEN c.energy_uj ELSE 0 END) AS idle_uj, sum(c.gpu_ns) AS gpu_ns
      FROM classed AS c
      JOIN (SELECT DISTINCT cluster, node, workload, name FROM who) AS h
        ON h.cluster = c.cluster AND h.node = c.node AND h.workload = c.workload
      WHERE c.class = 'gpu' AND c.workload <> ''
      GROUP BY c.site, c.part, h.name) AS named
WHERE idle_uj > 0
ORDER BY idle_uj DESC, site, name, part
LIMIT 50;

-- seen: for how long each device was metered, and from when to when.
SELECT s.site, s.cluster, s.node, s.device, sum(s.metered_ns) AS metered_ns, sum(s.gap_ns) AS gap_ns,
       coalesce(min(s.first_ns), 0) AS first_ns, max(s.last_ns) AS last_ns, coalesce(max(g.sku), '') AS sku,
       coalesce(max(g.counter_scope), 'unknown') AS counter_scope
FROM classed_span AS s LEFT JOIN gain AS g ON g.site = s.site AND g.device = s.device
WHERE s.class = 'gpu' AND s.workload = ''
GROUP BY s.site, s.cluster, s.node, s.device ORDER BY s.site, s.cluster, s.node, s.device;

-- meter_nodes: nodes that recorded meters of the building in the twelve months that end with the period.
SELECT DISTINCT f.site, p.cluster, p.node FROM meter_span_day AS p JOIN file AS f ON f.path = p.filename
WHERE p.device >= 'meter:' AND p.device < 'meter;' ORDER BY f.site, p.cluster, p.node;

-- nodes: for how long the GPUs, the host, its processors and its memory were metered on each node.
SELECT site, cluster, node, count(CASE WHEN class = 'gpu' THEN 1 END) AS gpus,
       sum(CASE WHEN class = 'gpu' THEN metered_ns ELSE 0 END) AS gpu_ns,
       sum(CASE WHEN class = 'host' THEN metered_ns ELSE 0 END) AS host_ns,
       max(CASE WHEN class = 'part' AND device NOT LIKE '%/dram%' THEN metered_ns ELSE 0 END) AS cpu_ns,
       max(CASE WHEN class = 'part' AND device LIKE '%/dram%' THEN metered_ns ELSE 0 END) AS ram_ns,
       max(CASE WHEN class = 'gpu' THEN metered_ns ELSE 0 END) AS longest_gpu_ns
FROM (SELECT site, cluster, node, class, device, sum(metered_ns) AS metered_ns
      FROM classed_span WHERE workload = '' GROUP BY site, cluster, node, class, device) AS device
GROUP BY site, cluster, node
HAVING count(CASE WHEN class <> 'part' THEN 1 END) > 0
ORDER BY site, cluster, node;

-- node_shares: for how long workloads of each part of the fleet held the GPUs of each node.
SELECT site, cluster, node, part, sum(gpu_ns) AS gpu_ns
FROM classed WHERE class = 'gpu' AND state IN ('active', 'idle')
GROUP BY site, cluster, node, part ORDER BY site, cluster, node, part;

-- extent: when the first and the last reading of a GPU or host were.
SELECT site, min(first_ns) AS first_ns, max(last_ns) AS last_ns FROM classed_span WHERE workload = '' GROUP BY site ORDER BY site;
