"""Names in OpenTelemetry: every metric of the catalogue has one, and each series keeps its own attributes."""

import pytest

from energy_agent.core.catalogue.node import BY_NAME, CATALOGUE
from energy_agent.core.catalogue.opentelemetry import BY_CONVENTION, instrument


@pytest.mark.parametrize(
    ("signal", "name", "kind", "unit"),
    [
        ("gpu_energy_joules_total", "hw.energy", "counter", "J"),
        ("gpu_power_instant_watts", "hw.power", "gauge", "W"),
        ("gpu_memory_used_bytes", "hw.gpu.memory.usage", "updowncounter", "By"),
        ("gpu_power_watts", "wattlens.gpu.power", "gauge", "W"),
        ("gpu_sm_clock_hertz", "wattlens.gpu.sm_clock", "gauge", "Hz"),
        ("gpu_clock_event_seconds_total", "wattlens.gpu.clock_event", "counter", "s"),
        ("workload_energy_joules_total", "wattlens.workload.energy", "counter", "J"),
        ("workload_info", "wattlens.workload.info", "gauge", ""),
        ("tokens_total", "wattlens.tokens", "counter", ""),
        ("decode_joules_per_token", "wattlens.decode_joules_per_token", "gauge", ""),
        ("time_to_first_token_seconds", "wattlens.time_to_first_token", "histogram", "s"),
        ("ledger_last_commit_timestamp_seconds", "wattlens.ledger.last_commit_timestamp", "gauge", "s"),
    ],
)
def test_names_kinds_and_units(signal: str, name: str, kind: str, unit: str) -> None:
    metric = instrument(BY_NAME[signal])
    assert (metric.name, metric.kind, metric.unit) == (name, kind, unit)


def test_metrics_outside_of_the_conventions_keep_their_prometheus_names() -> None:
    """As Prometheus' receiver translates (tests/peers/test_otlp.py shows it for the series of a player)."""
    for signal in CATALOGUE:
        if signal.name not in BY_CONVENTION:
            assert instrument(signal).prometheus_name == signal.metric


def test_signals_with_one_name_differ_in_attributes_and_agree_in_all_else() -> None:
    by_name: dict[str, list[str]] = {}
    for signal in CATALOGUE:
        by_name.setdefault(instrument(signal).name, []).append(signal.name)
    shared = {name: signals for name, signals in by_name.items() if len(signals) > 1}
    assert shared.keys() == {"hw.temperature", "hw.gpu.utilization", "hw.errors"}
    for signals in shared.values():
        metrics = [instrument(BY_NAME[signal]) for signal in signals]
        assert len({(each.kind, each.unit, each.help) for each in metrics}) == 1
        labels = {"gpu": "0", "uuid": "GPU-1", "severity": "corrected", "xid": "79"}
        series = [
            tuple(sorted(each.attributes({k: labels[k] for k in BY_NAME[signal].labels}).items()))
            for each, signal in zip(metrics, signals, strict=True)
        ]
        assert len(set(series)) == len(signals)


def test_every_metric_of_the_conventions_names_its_gpu() -> None:
    for signal in BY_CONVENTION:
        attributes = instrument(BY_NAME[signal]).attributes({"gpu": "3", "uuid": "GPU-abc"})
        assert attributes["hw.type"] == "gpu"
        assert attributes["hw.id"] == "GPU-abc"
        assert attributes["hw.name"] == "GPU 3"


def test_empty_labels_are_absent_and_others_keep_their_names() -> None:
    labels = {"workload": "train", "namespace": "", "pod": "", "uuid": "GPU-1", "state": "idle", "method": "counter"}
    assert instrument(BY_NAME["workload_energy_joules_total"]).attributes(labels) == {
        "workload": "train", "uuid": "GPU-1", "state": "idle", "method": "counter",
    }  # fmt: skip
