"""J per token of an agent against raw counters and an engine's own count, from readings that are written out here."""

import json
from pathlib import Path

import pytest

from energy_agent.config.agent import parse
from energy_agent.config.tokens import TokenSource
from energy_agent.core.units import NS_PER_S
from energy_agent.runtime.clock import RealClock
from energy_agent.runtime.network.tls import TlsFiles
from energy_agent.tokens.servers import vllm
from tests.energy_agent.nodes import environ_of, make_plant
from tests.support import free_port, refusal
from wattlens.doctor.acceptance.command import agent_url
from wattlens.doctor.acceptance.engine import (
    EngineOwner,
    EngineReader,
    compare_engine,
    configured_engines,
    find_owner,
    open_engine,
)
from wattlens.doctor.acceptance.run import idle_power
from wattlens.doctor.finding import NvmlAnswers
from wattlens.doctor.probing import probe
from wattlens.top.metrics import MetricsParser

OWNER = EngineOwner("serving/chat", frozenset({"GPU-a", "GPU-b"}))
INDICES = {"GPU-a": 4, "GPU-b": 5}


def response(t_s, energy_j, tokens, other_j=0.0):
    """What an agent shows of a workload on two GPUs."""
    lines = [
        'wattlens_tokens_total{workload="serving/chat",model="m",phase="generation"} ' + str(tokens),
        'wattlens_tokens_total{workload="serving/chat",model="m",phase="prompt"} 99',
        f'wattlens_workload_energy_joules_total{{workload="serving/chat",uuid="GPU-a",state="active"}} {energy_j / 2}',
        f'wattlens_workload_energy_joules_total{{workload="serving/chat",uuid="GPU-b",state="idle"}} {energy_j / 2}',
        f'wattlens_workload_energy_joules_total{{workload="other",uuid="GPU-b",state="active"}} {other_j}',
    ]
    return MetricsParser().parse("\n".join(lines) + "\n", t_s)


def engine(tokens_per_s=10, seconds=100, fell=False):
    reader = EngineReader("http://127.0.0.1:1/metrics", "vllm", vllm.SPEC, 2.0)
    for t in range(seconds):
        tokens = 0 if fell and t == 50 else 1000 + tokens_per_s * t
        reader.counts.add(t * NS_PER_S, t * NS_PER_S + 10_000_000, tokens)
    return reader


def compared(responses, reader=None, owner=OWNER, counter=(249.0, 251.0)):
    scale = (responses[-1].t_s - responses[0].t_s) / 50  # of both GPUs together 500 J in 50 s
    return compare_engine(
        reader or engine(), owner, responses, lambda *_: tuple(scale * j for j in counter) if counter else None, INDICES
    )


def test_both_are_stated_with_the_bounds_of_the_reference():
    result = compared([response(10.0, 100.0, 50), response(60.0, 600.0, 550)])
    assert (result.gpus, result.agent.value, result.tokens) == ((4, 5), 1.0, 500)
    assert result.engine.lower < 1.0 < result.engine.upper
    assert result.engine.upper - result.engine.lower < 0.2


def test_an_agent_without_tokens_of_the_engine_is_reported():
    result = compared([response(10.0, 100.0, 50), response(60.0, 600.0, 50)])
    assert (result.agent.value, result.agent.reason) == (None, "the agent counted no tokens of the engine")
    result = compared([response(10.0, 1.0, 1), response(60.0, 6.0, 6)], owner=EngineOwner("other name", OWNER.uuids))
    assert "other workloads" in result.engine.reason


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"reader": engine(fell=True)}, "it was restarted"),
        ({"reader": engine(tokens_per_s=0)}, "too few tokens"),
        ({"reader": engine(seconds=5)}, "fewer than two readings"),
        ({"counter": None}, "could not be compared"),
        ({"owner": EngineOwner(reason="its server uses no visible GPU")}, "no visible GPU"),
    ],
)
def test_without_a_reference_there_is_a_reason(options, reason):
    result = compared([response(10.0, 100.0, 50), response(60.0, 600.0, 550)], **options)
    assert reason in result.engine.reason
    assert result.engine.value is None


def test_gpus_of_several_workloads_have_no_reference():
    result = compared([response(10.0, 100.0, 50), response(60.0, 600.0, 550, other_j=5.0)])
    assert result.engine.reason == "other workloads used its GPUs as well"


def test_engines_of_a_configuration_are_read_with_its_certificates(tmp_path):
    url, ca_file = "https://127.0.0.1:8000/metrics", tmp_path / "ca.pem"
    source = TokenSource(workload="serving/chat", url=url, ca_file=ca_file, verify=False)
    [reader] = configured_engines([source], RealClock())
    assert (reader.url, reader.tls) == (url, TlsFiles(ca_file, verify=False))


def test_an_address_without_a_server_is_refused_and_has_no_owner():
    url = f"http://127.0.0.1:{free_port()}/metrics"
    assert url in refusal(open_engine, url, RealClock())
    reason = find_owner(url, NvmlAnswers(), [Path("/proc")]).reason
    assert reason
    assert "127.0.0.1" not in reason


def test_the_agents_address_follows_from_its_listener():
    assert agent_url("127.0.0.1:9479") == "http://127.0.0.1:9479/metrics"
    assert agent_url("0.0.0.0:9479") == "http://127.0.0.1:9479/metrics"
    assert agent_url("[::]:1") == "http://[::1]:1/metrics"


@pytest.mark.smoke
def test_power_of_idle_gpus_is_measured_with_and_without_the_reader(tmp_path):
    with make_plant(tmp_path, 2, rate=10.0):
        environ = environ_of(tmp_path)
        power_by_gpu = idle_power(environ, probe(environ), 10.0)
    assert power_by_gpu.keys() == {0, 1}
    assert all(each.lower < each.value < each.upper for each in power_by_gpu.values())


def test_without_an_idle_gpu_its_power_is_absent():
    assert idle_power({}, NvmlAnswers(), 600.0) == {}


def test_engines_of_the_configuration_are_those_of_the_agent():
    text = b"""
tokens:
  - {workload: serving/chat, url: "http://127.0.0.1:8000/metrics", ports: [8001], server: sglang, period_s: 5}
  - {workload: serving/own, url: "http://127.0.0.1:9000/metrics", server: mapping, mapping: {generation: my_tokens_total}}
"""
    config = parse(text)
    engines = configured_engines(config.tokens, RealClock())
    assert [(each.url[17:21], each.name) for each in engines] == [("8000", "sglang"), ("8001", "sglang"), ("9000", "mapping")]
    assert engines[0].age_s > 5 > engines[2].age_s
    tokens = [each.source | {"workload": "serving/new"} for each in engines]
    again = parse(json.dumps({"tokens": tokens}).encode())
    assert [source.endpoints for source in again.tokens] == [(each.url,) for each in engines]
