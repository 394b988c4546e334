-- Rows of every day that lie in the window of their site.

CREATE OR REPLACE VIEW cell_in AS
SELECT f.site, f.day_ns, p.cell_start_ns, p.cluster, p.node, p.workload, p.active_uj, p.idle_uj, p.other_uj, p.host_uj, p.gpu_ns
FROM workload_cell AS p JOIN file AS f ON f.path = p.filename
WHERE p.cell_start_ns >= f.from_ns AND p.cell_start_ns < f.to_ns;

CREATE OR REPLACE VIEW tokens_in AS
SELECT f.site, f.day_ns, p.cell_start_ns, p.cluster, p.node, p.workload, p.model, p.phase, p.tokens
FROM all_tokens AS p JOIN file AS f ON f.path = p.filename
WHERE p.cell_start_ns >= f.from_ns AND p.cell_start_ns < f.to_ns;

CREATE OR REPLACE VIEW steps_in AS
SELECT f.site, f.day_ns, p.cell_start_ns, p.cluster, p.node, p.workload, p.phase, p.start_ns, p.end_ns, p.steps
FROM all_steps AS p JOIN file AS f ON f.path = p.filename
WHERE p.cell_start_ns >= f.from_ns AND p.cell_start_ns < f.to_ns;

CREATE OR REPLACE VIEW phase_in AS
SELECT f.site, f.day_ns, p.cluster, p.node, p.workload, p.phase, p.energy_uj, p.gpu_ns
FROM all_phase AS p JOIN file AS f ON f.path = p.filename
WHERE p.cell_start_ns >= f.from_ns AND p.cell_start_ns < f.to_ns;

CREATE OR REPLACE VIEW gap_in AS
SELECT f.site, p.cluster, p.node, p.device, p.reason, p.start_ns, p.end_ns, p.bound_uj,
       CASE WHEN p.device LIKE 'meter:%' THEN 'meter' WHEN p.device NOT LIKE 'host:%' THEN 'gpu'
            WHEN p.device LIKE '%/%' THEN 'part' ELSE 'host' END AS class
FROM all_gap AS p JOIN file AS f ON f.path = p.filename
WHERE p.cell_start_ns >= f.from_ns AND p.cell_start_ns < f.to_ns;

CREATE OR REPLACE VIEW action_in AS
SELECT f.site, p.policy, p.action, p.outcome
FROM all_action AS p JOIN file AS f ON f.path = p.filename
WHERE p.t_ns >= f.from_ns AND p.t_ns < f.to_ns;
