"""Pod annotations for inference servers, including hostile ones."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.tokens.discovery import (
    ENDPOINTS_LIMIT,
    GROUP,
    MODEL,
    PATH,
    PORT,
    PRECISION,
    ROLE,
    SCHEME,
    SERVER,
    PodFacts,
    group,
    sources,
)

KNOWN = ("vllm", "sglang", "mapping")


def pod(workload="ns/chat.1a2b3c4d", address="10.1.2.3", **annotations) -> PodFacts:
    keys = {"port": PORT, "path": PATH, "scheme": SCHEME, "server": SERVER, "group": GROUP, "model": MODEL}
    keys |= {"precision": PRECISION, "role": ROLE}
    return PodFacts(workload, address, {keys[key]: text for key, text in annotations.items()})


def test_all_that_it_may_say():
    [token_source], _ = sources([pod(port="8000, 8001", path="/prometheus/metrics", server="sglang", group="llama-70b")], KNOWN)
    assert token_source.endpoints == ("http://10.1.2.3:8000/prometheus/metrics", "http://10.1.2.3:8001/prometheus/metrics")
    assert (token_source.server, token_source.group) == ("sglang", "llama-70b")
    [secure], _ = sources([pod(port="8000,8001", scheme="HTTPS")], KNOWN)
    assert secure.endpoints == ("https://10.1.2.3:8000/metrics", "https://10.1.2.3:8001/metrics")
    [six], _ = sources([pod(address="fd00::1:2", port="8000,8001")], KNOWN)
    assert six.endpoints == ("http://[fd00::1:2]:8000/metrics", "http://[fd00::1:2]:8001/metrics")


def test_only_the_serving_rank_is_polled_and_others_are_members():
    pods = [pod("ns/rank-0", port="8000", group="big"), pod("ns/rank-1", "10.1.2.4", group="big")]
    token_sources, refused = sources(pods, KNOWN)
    assert [s.workload for s in token_sources] == ["ns/rank-0"]
    assert refused == {}
    assert {group(p) for p in pods} == {"big"}


@pytest.mark.parametrize(
    ("annotations", "why"),
    [
        ({"port": ""}, PORT),
        ({"port": "0"}, PORT),
        ({"port": "65536"}, PORT),
        ({"port": "-1"}, PORT),
        ({"port": "80@evil.example:80"}, PORT),
        ({"port": "8000,8000"}, PORT),
        ({"port": "²"}, PORT),
        ({"port": ",".join(map(str, range(1, 18)))}, PORT),
        ({"port": "9" * 5000}, PORT),
        ({"port": "80", "scheme": "file"}, SCHEME),
        ({"port": "80", "path": "metrics"}, PATH),
        ({"port": "80", "path": "@evil.example/"}, PATH),
        ({"port": "80", "path": "/a?b"}, PATH),
        ({"port": "80", "path": "/a\r\nHost: x"}, PATH),
        ({"port": "80", "path": "/" + "a" * 300}, PATH),
        ({"port": "80", "server": "mapping"}, SERVER),
        ({"port": "80", "server": "../../x"}, SERVER),
        ({"port": "80", "role": "router"}, ROLE),
        ({"port": "80", "group": "a b"}, GROUP),
        ({"port": "80", "group": "a\n"}, GROUP),
        ({"port": "80", "precision": "fp8\n"}, PRECISION),
        ({"port": "80", "model": "m" * 257}, MODEL),
        ({"port": "80", "address": "fe80::1%\x1b[31m"}, "not the address of a pod"),
        ({"port": "80", "address": ""}, "no address"),
        ({"port": "80", "address": "evil.example"}, "no address"),
        ({"port": "80", "address": "127.0.0.1"}, "not the address of a pod"),
        ({"port": "80", "address": "::1"}, "not the address of a pod"),
        ({"port": "80", "address": "169.254.169.254"}, "not the address of a pod"),
        ({"port": "80", "address": "0.0.0.0"}, "not the address of a pod"),
        ({"port": "80", "address": "::ffff:127.0.0.1"}, "not the address of a pod"),
    ],
)
def test_refused_annotation_has_a_reason_and_stops_no_other(annotations, why):
    token_sources, refused = sources([pod(**annotations), pod("ns/good", port="8000")], KNOWN)
    assert [s.workload for s in token_sources] == ["ns/good"]
    assert why in refused["ns/chat.1a2b3c4d"]
    assert len(refused["ns/chat.1a2b3c4d"]) < 200


def test_there_are_not_more_pages_than_a_node_can_have():
    token_sources, refused = sources([pod(f"ns/p{n:03}", port=",".join(map(str, range(1, 17)))) for n in range(20)], KNOWN)
    assert sum(len(s.endpoints) for s in token_sources) == ENDPOINTS_LIMIT
    assert len(refused) == 20 - ENDPOINTS_LIMIT // 16


@given(st.lists(st.tuples(st.sampled_from(["aaa", "b", "prod", "zz"]), st.integers(1, 16)), max_size=80))
def test_namespaces_have_equal_shares_of_the_pages_whatever_their_names_and_pods(wanted):
    pods = [pod(f"{space}/p{n:03}", port=",".join(map(str, range(1, ports + 1)))) for n, (space, ports) in enumerate(wanted)]
    token_sources, refused = sources(pods, KNOWN)
    pages = {space: sum(len(s.endpoints) for s in token_sources if s.workload.startswith(f"{space}/")) for space, _ in wanted}
    assert sum(pages.values()) <= ENDPOINTS_LIMIT
    assert {s.workload for s in token_sources} | set(refused) == {each.workload for each in pods}
    for workload in refused:  # a namespace with a refused pod has as many pages as any other, up to the ports of a pod
        assert pages[workload.partition("/")[0]] + 16 >= max(pages.values())
        assert sum(pages.values()) + 16 > ENDPOINTS_LIMIT
    assert sources(list(reversed(pods)), KNOWN)[0] == token_sources


def test_a_namespace_full_of_ports_takes_no_page_of_another():
    for hostile, honest in (("aaa", "prod"), ("prod", "aaa")):
        pods = [pod(f"{hostile}/p{n}", port=",".join(map(str, range(8000, 8016)))) for n in range(40)]
        token_sources, refused = sources([*pods, pod(f"{honest}/vllm.1", port="8000")], KNOWN)
        assert f"{honest}/vllm.1" in {source.workload for source in token_sources}
        assert f"{honest}/vllm.1" not in refused


@given(st.dictionaries(st.sampled_from([PORT, PATH, SERVER, GROUP]), st.text(max_size=40)), st.text(max_size=40))
def test_only_the_pods_own_address_is_polled(annotations, address):
    for where in ("10.1.2.3", address):
        for source in sources([PodFacts("w", where, annotations)], KNOWN)[0]:
            for url in source.endpoints:
                assert urlsplit(url).scheme == "http"
                assert urlsplit(url).hostname == where


def test_facts_of_the_workload_stand_where_no_annotation_does():
    facts = {"group": "LeaderWorkerSet/big/0", "model": "llama", "precision": "fp8"}
    annotations = {PORT: "80", GROUP: "mine", MODEL: "own", PRECISION: "bf16"}
    [vllm, plain, labelled], refused = sources(
        [
            PodFacts("a", "10.1.2.3", {PORT: "80"}, facts=facts),
            PodFacts("b", "10.1.2.4", {PORT: "80", SERVER: "sglang"}, facts=facts | {"group": "(odd) name"}),
            PodFacts("c", "10.1.2.5", annotations, facts=facts),
        ],
        KNOWN,
        ("sglang",),
    )
    assert refused == {}
    assert (vllm.group, vllm.model, vllm.precision) == ("LeaderWorkerSet/big/0", "", "fp8"), "its page names the model"
    assert (plain.group, plain.model) == ("odd__name", "llama")
    assert (labelled.group, labelled.model, labelled.precision) == ("mine", "own", "bf16")


def test_only_declared_ports_are_polled_on_the_host_network():
    declared = frozenset({8000, 8001})
    [result], _ = sources([PodFacts("w", "10.0.0.1", {PORT: "8001,8000"}, declared)], KNOWN)
    assert result.endpoints == ("http://10.0.0.1:8001/metrics", "http://10.0.0.1:8000/metrics")
    for ports in ("10250", "8000,10250"):
        result, refused = sources([PodFacts("w", "10.0.0.1", {PORT: ports}, declared)], KNOWN)
        assert result == []
        assert "must declare" in refused["w"]


def test_loopback_is_a_pods_on_a_simulated_node_alone():
    assert sources([pod(address="127.0.0.1", port="80")], KNOWN, simulated=True)[0][0].url == "http://127.0.0.1:80/metrics"
    assert sources([pod(address="127.0.0.1", port="80")], KNOWN)[0] == []
    assert sources([pod(address="169.254.169.254", port="80")], KNOWN, simulated=True)[0] == []
