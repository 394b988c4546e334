-- For how long workloads of each part held boards of each kind.
SELECT c.site, c.part, coalesce(g.sku, '') AS sku, sum(c.gpu_ns) AS gpu_ns
FROM classed AS c LEFT JOIN gain AS g ON g.site = c.site AND g.device = c.device
WHERE c.class = 'gpu' AND c.state IN ('active', 'idle')
GROUP BY c.site, c.part, coalesce(g.sku, '')
ORDER BY c.site, c.part, sku;
