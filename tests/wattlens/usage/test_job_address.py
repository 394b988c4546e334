"""Addresses of jobs and the workloads that they select."""

import pytest

from energy_agent.core.errors import UsageError, WattlensError
from wattlens.usage.job_address import exact_address, parse_address, single_address

POD = {"namespace": "research", "pod": "llama-0", "owner": "JobSet/llama"}
SLURM = {"owner": "Job/4711", "job": "4715", "array_task": "3"}


@pytest.mark.parametrize(
    ("text", "workload", "kind", "labels", "expected"),
    [
        ("k8s/research/llama", "pod:1", "pod", POD, True),
        ("k8s/research/JobSet/llama", "pod:1", "pod", POD, True),
        ("k8s/research/Deployment/llama", "pod:1", "pod", POD, False),
        ("k8s/other/llama", "pod:1", "pod", POD, False),
        ("k8s/research/llama-0", "pod:1", "pod", POD, False),
        ("k8s/research/llama-0", "pod:1", "pod", {"namespace": "research", "pod": "llama-0"}, True),
        ("k8s/research/llama", "pod:1", "container", POD, False),
        ("slurm/4711", "slurm-4715", "slurm", SLURM, True),
        ("slurm/4715", "slurm-4715", "slurm", SLURM, True),
        ("slurm/4711_3", "slurm-4715", "slurm", SLURM, True),
        ("slurm/4711_4", "slurm-4715", "slurm", SLURM, False),
        ("slurm/4715", "slurm-4715", "pod", POD, False),
        ("slurm/471", "slurm-4715", "slurm", SLURM, False),
    ],
)
def test_an_address_selects_workloads_by_their_owner(text, workload, kind, labels, expected):
    assert parse_address(text).matches(workload, kind, labels) is expected


@pytest.mark.parametrize("text", ["llama", "k8s/llama", "k8s/a/b/c", "slurm/", "slurm/x", "slurm/1_", "k8s/a/b c", "k8s//b"])
def test_other_text_is_a_usage_error(text):
    with pytest.raises(UsageError, match="expected a job as k8s/NAMESPACE/NAME"):
        parse_address(text)


def test_a_task_of_an_array_keeps_its_name():
    assert single_address(parse_address("slurm/4711_3"), ["slurm/4711"]) == "slurm/4711_3"
    exact = exact_address("4711")
    assert [exact.matches(workload, "slurm", SLURM) for workload in ("slurm-4711", "slurm-4715")] == [True, False]


def test_a_name_of_several_owners_must_be_chosen():
    address = parse_address("k8s/research/llama")
    with pytest.raises(WattlensError, match="choose one: k8s/research/Deployment/llama, k8s/research/JobSet/llama"):
        single_address(address, ["k8s/research/JobSet/llama", "k8s/research/Deployment/llama"])
    both = ["k8s/research/JobSet/llama", "k8s/research/TrainJob/llama", ""]
    assert single_address(address, both) == "k8s/research/TrainJob/llama"
