"""The label `share` follows the applied policy over several devices, and remains after its workload has ended."""

from energy_agent.accounting.share_policies import SharePolicyLabels
from energy_agent.core.energy import WorkloadFacts

FACT = WorkloadFacts("w", 1, "pod", {"pod": "w"})


def test_the_fact_follows_the_policy_of_the_devices_that_are_held():
    shares = SharePolicyLabels()
    assert shares.apply(FACT, None) is FACT
    assert shares.update("GPU-a", "exclusive", ["w"]) == ["w"]
    assert shares.update("GPU-a", "exclusive", ["w"]) == []
    assert shares.apply(FACT, None).labels == {"pod": "w", "share": "exclusive"}
    assert shares.update("GPU-a", "sm_time", ["v", "w"]) == ["v", "w"]
    shares.update("GPU-b", "exclusive", ["w"])
    both = shares.apply(FACT, None)
    assert both.labels["share"] == "exclusive+sm_time"
    assert shares.update("GPU-a", "exclusive", ["v"]) == ["v"]
    assert shares.apply(FACT, both).labels["share"] == "exclusive"
    shares.update("GPU-b", "", ["w"])
    assert shares.apply(FACT, both) == both  # what is known of it stays
