"""The benchmark of jobs over changing nodes in small: parts sum exactly, and the truth is within the bounds."""

import random

import pytest

from benchmarks import job_nodes


@pytest.mark.smoke
def test_a_small_job_with_preemptions_is_within_its_bounds():
    rows = list(job_nodes.run(nodes=4, minutes=16, gpus=1))
    assert [row["job"] for row in rows] == ["k8s/research/JobSet/elastic", "k8s/research/PyTorchJob/fixed"]
    for row in rows:
        assert row["parts =="]
        assert row["in bounds"]
    assert rows[0]["preempted"] >= 10
    assert rows[1]["ok"]


def test_one_node_per_minute_is_preempted_and_the_job_grows_and_shrinks():
    job = job_nodes.plan_elastic(32, 16, random.Random(1))
    assert sum(pod.preempted for pod in job.pods) == 16
    alive = [sum(pod.start_s <= at_s < pod.end_s for pod in job.pods) for at_s in range(0, 16 * 60, 5)]
    assert max(alive) == 32
    assert min(alive) in (7, 8)
    on_node = {}
    for pod in sorted(job.pods, key=lambda pod: pod.start_s):
        assert on_node.get(pod.node, 0.0) <= pod.start_s
        on_node[pod.node] = pod.end_s
