-- What is asked of one job (job.sql), one statement each.

-- candidates: workloads that may be of the job, with their labels; Python decides.
SELECT DISTINCT p.cluster, p.node, p.workload, p.workload_kind, p.labels, p.since_ns, max(p.sequence) AS sequence
FROM all_workload AS p JOIN file AS f ON f.path = p.filename
WHERE p.workload = ? OR (contains(p.labels, ?) AND contains(p.labels, ?))
GROUP BY p.cluster, p.node, p.workload, p.workload_kind, p.labels, p.since_ns ORDER BY p.since_ns, sequence;

-- uses: energy and device time by workload, device and state.
SELECT cluster, node, workload, device, class, state, sum(energy_uj) AS energy_uj, sum(gpu_ns) AS gpu_ns
FROM classed WHERE part = 1 AND class <> 'part' GROUP BY cluster, node, workload, device, class, state
ORDER BY cluster, node, workload, device, state;

-- times: the first and the last reading of each workload, and those of its GPUs.
SELECT cluster, node, workload, min(first_ns) AS first_ns, max(CASE WHEN first_ns IS NULL THEN NULL ELSE last_ns END) AS last_ns,
       min(CASE WHEN class = 'gpu' THEN first_ns END) AS gpu_first_ns,
       max(CASE WHEN class = 'gpu' AND first_ns IS NOT NULL THEN last_ns END) AS gpu_last_ns
FROM classed_span WHERE part = 1 AND class <> 'part' GROUP BY cluster, node, workload;

-- quarters: GPU time by quarter of an hour.
SELECT c.cell_start_ns, sum(c.gpu_ns) AS gpu_ns FROM cell_in AS c
JOIN member AS m ON m.cluster = c.cluster AND m.node = c.node AND m.workload = c.workload
GROUP BY c.cell_start_ns ORDER BY c.cell_start_ns;

-- counted_steps: the steps that each workload counted.
SELECT p.phase, p.cluster, p.node, p.workload, p.start_ns, p.end_ns, p.steps FROM steps_in AS p
JOIN member AS m ON m.cluster = p.cluster AND m.node = p.node AND m.workload = p.workload
ORDER BY p.phase, p.cluster, p.node, p.workload, p.start_ns;

-- phases: GPU energy and GPU time in phases other than training.
SELECT p.phase, sum(p.energy_uj) AS energy_uj, sum(p.gpu_ns) AS gpu_ns FROM phase_in AS p
JOIN member AS m ON m.cluster = p.cluster AND m.node = p.node AND m.workload = p.workload
GROUP BY p.phase ORDER BY p.phase;
