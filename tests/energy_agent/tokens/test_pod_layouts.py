"""Pods of llm-d and KServe as their manifests create them (layouts/pods.yaml): endpoints, roles and services."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from energy_agent.owners.kubernetes.controllers import facts_of_owner
from energy_agent.tokens.discovery import KEYS, PORT, ROLE, PodFacts, sources
from energy_agent.tokens.pod_layouts import layout_annotations

PODS = list(yaml.safe_load_all((Path(__file__).parent / "layouts/pods.yaml").read_text()))
KNOWN = ("vllm", "sglang", "tensorrt_llm", "mapping")


def annotations_of(pod: dict[str, Any]) -> dict[str, str]:
    metadata = pod["metadata"]
    return layout_annotations(metadata["labels"], metadata.get("annotations", {}), pod["spec"])


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["metadata"]["name"])
def test_an_engine_is_found_at_its_own_port(pod: dict[str, Any]) -> None:
    metadata, expected = pod["metadata"], pod["expected"]
    facts = facts_of_owner(metadata)
    assert facts.get("group") == expected.get("group")
    annotations = annotations_of(pod)
    assert annotations.keys() <= set(KEYS)
    followed, refused = sources([PodFacts(f"llm/{metadata['name']}", "10.1.2.3", annotations, facts=facts)], KNOWN)
    assert refused == {}
    if "port" not in expected:
        assert followed == []
        return
    [source] = followed
    path = expected.get("path", "/metrics")
    assert source.url == f"{expected.get('scheme', 'http')}://10.1.2.3:{expected['port']}{path}"
    assert (source.server, source.role, source.group) == (expected["server"], expected["role"], expected.get("group"))


def test_pools_of_a_service_have_one_owner() -> None:
    owners = {facts_of_owner(pod["metadata"])["owner"] for pod in PODS[:2]}
    assert owners == {"ModelService/facebook-opt-125m"}


def test_a_pod_that_does_both_has_no_role_and_no_group() -> None:
    pod = PODS[0] | {"metadata": PODS[0]["metadata"] | {"labels": {"llm-d.ai/role": "both", "llm-d.ai/model": "m"}}}
    assert ROLE not in annotations_of(pod)
    assert "group" not in facts_of_owner(pod["metadata"])


@pytest.mark.parametrize(
    ("label", "role"), [("encode-prefill", "prefill"), ("prefill-decode", None), ("encode-prefill-decode", None)]
)
def test_roles_of_several_phases(label: str, role: str | None) -> None:
    labels = PODS[0]["metadata"]["labels"] | {"llm-d.ai/role": label}
    assert layout_annotations(labels, {}, PODS[0]["spec"]).get(ROLE) == role


def test_engines_without_known_metrics_are_left_alone() -> None:
    labels = PODS[0]["metadata"]["labels"] | {"llm-d.ai/engine-type": "atom"}
    assert layout_annotations(labels, {}, PODS[0]["spec"]) == {}
    assert layout_annotations(PODS[0]["metadata"]["labels"], {}, {"containers": [{"name": "other"}]}) == {}


def test_a_port_named_metrics_comes_first() -> None:
    engine = {"name": "vllm", "ports": [{"containerPort": 8000}, {"name": "metrics", "containerPort": 8200}]}
    assert layout_annotations({"llm-d.ai/role": "decode"}, {}, {"containers": [engine]})[PORT] == "8200"
