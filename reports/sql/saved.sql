-- What is asked of experiments (proof.sql), one statement each.

-- experiments: with the site of the last analysis, and what was claimed and lost in the period and until its end.
SELECT e.cluster, e.node, e.group_name, e.since_ns, max(a.site) AS site, e.analyses, e.different, e.latest, e.claimed_uj, e.lost_uj,
       e.all_claimed_uj
FROM experiment AS e
JOIN analysis_at AS a
  ON a.cluster = e.cluster AND a.node = e.node AND a.group_name = e.group_name AND a.since_ns = e.since_ns AND a.number = e.latest
GROUP BY e.cluster, e.node, e.group_name, e.since_ns, e.analyses, e.different, e.latest, e.claimed_uj, e.lost_uj, e.all_claimed_uj
ORDER BY e.cluster, e.node, e.group_name, e.since_ns;

-- marks: the last analysis of each in the period and before it, with an estimate and without.
SELECT cluster, node, group_name, since_ns, inside, has_estimate, saved_uj, low_uj, high_uj, slowdown_ppm, slowdown_low_ppm,
       slowdown_high_ppm, slowdown_of, reason
FROM (SELECT a.*, CASE WHEN a.reason = '' THEN 1 ELSE 0 END AS has_estimate,
             row_number() OVER (PARTITION BY a.cluster, a.node, a.group_name, a.since_ns, a.inside, a.reason = ''
                                ORDER BY a.number DESC) AS place
      FROM analysis_at AS a
      JOIN experiment AS e
        ON e.cluster = a.cluster AND e.node = a.node AND e.group_name = a.group_name AND e.since_ns = a.since_ns) AS placed
WHERE place = 1;

-- pairs: periods of the plan that ended, by why they are not used.
SELECT excluded, count(*) AS pairs FROM pair_at GROUP BY excluded ORDER BY excluded;

-- proof_days: days that these rows stand in.
SELECT DISTINCT a.site, a.day_ns
FROM analysis_at AS a
JOIN experiment AS e
  ON e.cluster = a.cluster AND e.node = a.node AND e.group_name = a.group_name AND e.since_ns = a.since_ns
UNION
SELECT site, day_ns FROM pair_at;
