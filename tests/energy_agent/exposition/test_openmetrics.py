"""The page against the parsers of others: prometheus_client's two, promtool, and a golden file.

After a wanted change of the page: python -m tests.energy_agent.exposition.test_openmetrics
"""

import dataclasses
import subprocess
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from energy_agent.core.catalogue.node import AGENT, BY_NAME
from energy_agent.core.energy import Identity, Method, SourceHealth, State, WorkloadFacts
from energy_agent.core.snapshot import Snapshot, TokenCount, WorkloadEnergy
from energy_agent.exposition.openmetrics import Format, negotiate, render
from tests.snapshots import Player, uuid
from tests.support import need_program

GOLDEN = Path(__file__).parents[2] / "golden"
PAGES = {Format.TEXT: GOLDEN / "metrics.txt", Format.OPENMETRICS: GOLDEN / "metrics.openmetrics.txt"}
PARSERS = {Format.TEXT: parse_text, Format.OPENMETRICS: parse_openmetrics}
FORMATS = pytest.mark.parametrize("fmt", Format)
EMPTY = Snapshot(1, 0, Identity("c", "n", "b", "0.1.0", simulated=False))


def samples(snapshot: Snapshot, fmt: Format) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample that the peer's parser sees, by name and labels; a series that is there twice fails."""
    rows = [
        ((s.name, frozenset(s.labels.items())), float(s.value))  # the parsers give an int where the text is one
        for family in PARSERS[fmt](render(snapshot, fmt).decode())
        for s in family.samples
    ]
    assert not [key for key, n in Counter(key for key, _ in rows).items() if n > 1]
    return dict(rows)


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"wattlens_{name}", frozenset(labels.items())


@FORMATS
def test_golden(fmt: Format) -> None:
    assert render(Player(gpus=3, lost={2}).at(5), fmt) == PAGES[fmt].read_bytes()


@FORMATS
def test_every_family_has_the_kind_unit_labels_and_help_of_the_catalogue(fmt: Format) -> None:
    names = set()
    for family in PARSERS[fmt](render(Player(health=True, node=True).at(5), fmt).decode()):
        suffix = "_total" if family.type == "counter" else ""
        name = family.name.removeprefix("wattlens_")
        signal = BY_NAME.get(name + suffix) or BY_NAME[name]
        names.add(signal.name)
        assert family.type == (signal.kind if signal.kind != "info" else "gauge")
        assert family.documentation == signal.help
        label_names = {*signal.labels, *(["le"] if signal.kind == "histogram" else [])}
        assert all(set(s.labels) <= label_names for s in family.samples)
        if fmt is Format.OPENMETRICS and family.name.endswith(f"_{signal.unit}"):
            assert family.unit == ("" if "_per_" in signal.unit else signal.unit)
    # There only while something is missing or shared, a counter's scope is known, or a GPU is not steered by design.
    lone = {"gpu_absent_info", "dvfs_exempt_info", "request_energy_absent_info", "gpu_counter_scope_info", "gpu_sharing_info"}
    assert names == {s.name for s in AGENT} - lone


@FORMATS
def test_joules_are_exact_beyond_what_a_float_can_hold(fmt: Format) -> None:
    energy_uj = 9_007_199_254_740_993_000_001
    player = Player(gpus=2).at(1)
    view = dataclasses.replace(player.devices[0], energy_uj={Method.COUNTER: energy_uj})
    page = render(dataclasses.replace(player, devices=(view,)), fmt).decode()
    (line,) = [x for x in page.splitlines() if x.startswith("wattlens_gpu_energy_joules_total") and '"counter"' in x]
    assert Fraction(line.rpartition(" ")[2]) == Fraction(energy_uj, 1_000_000)


@FORMATS
def test_values_are_those_of_the_snapshot(fmt: Format) -> None:
    got, gpu = samples(Player(gpus=3).at(5), fmt), {"gpu": "0", "uuid": uuid(0)}
    chat = {"workload": "chat", "namespace": "serving", "pod": "chat-0"}
    for value, name, labels in (
        (300, "gpu_energy_joules_total", gpu | {"method": "counter"}),
        (0, "gpu_energy_joules_total", gpu | {"method": "bridged"}),
        (599.5, "gpu_power_watts", gpu), (1.755e9, "gpu_sm_clock_hertz", gpu),
        (0.97, "gpu_utilization_ratio", gpu), (1, "gpu_xid_errors_total", gpu | {"xid": "13"}),
        (0.1, "gpu_clock_event_seconds_total", gpu | {"reason": "sw_power_cap"}),
        (612.5, "dvfs_power_limit_watts", gpu),
        (1, "dvfs_mode", gpu | {"mode": "enforce"}),
        (240, "workload_energy_joules_total", chat | {"uuid": uuid(1), "state": "active", "method": "counter"}),
        (480, "tokens_total", {"workload": "chat", "model": "llama-70b", "phase": "generation"}),
        (1, "source_down_info", {"source": "tokens", "reason": "connection refused"}),
        (1, "node_info", {"cluster": "lab", "node": "node-1", "simulated": "true"}),
        (1_699_999_999.5, "config_last_reload_success_timestamp_seconds", {}),
    ):  # fmt: skip
        assert got[key(name, **labels)] == value


@FORMATS
def test_what_is_not_known_is_absent_and_its_reason_is_there(fmt: Format) -> None:
    gpu = {"gpu": "0", "uuid": uuid(0)}
    got = samples(Player(gpus=3, lost={0}).at(5), fmt)
    of_lost = {name for name, labels in got if ("uuid", uuid(0)) in labels}
    assert of_lost == {"wattlens_gpu_info", "wattlens_gpu_up", "wattlens_gpu_absent_info"}
    assert got[key("gpu_up", **gpu)] == 0
    assert got[key("gpu_absent_info", **gpu, field="device", reason="GPU_IS_LOST")] == 1
    assert (
        key("workload_gpu_seconds_total", workload="train", namespace="research", pod="train-0", state="active") in got
    )  # not of this GPU alone
    whole = Player(gpus=3).at(5)
    view = whole.devices[0]
    assert view.sample is not None
    gaps = {"power_mw": None, "memory_temperature_c": None, "xid_counts": None, "absent": {"power_mw": "NOT_SUPPORTED"}}
    broken = dataclasses.replace(view, sample=dataclasses.replace(view.sample, **gaps), gain_uncertainty_ratio=float("nan"))  # type: ignore[arg-type]
    got = samples(dataclasses.replace(whole, devices=(broken, *whole.devices[1:])), fmt)
    assert key("gpu_power_watts", **gpu) in got
    assert got[key("gpu_absent_info", **gpu, field="power_mw", reason="NOT_SUPPORTED")] == 1
    for name, labels in (
        ("gpu_power_instant_watts", {}), ("gpu_memory_temperature_celsius", {}),
        ("gpu_energy_gain_uncertainty_ratio", {}), ("gpu_xid_errors_total", {"xid": "13"}),
    ):  # fmt: skip
        assert key(name, **gpu, **labels) not in got


@FORMATS
def test_the_newest_facts_of_a_workload_count(fmt: Format) -> None:
    facts = (WorkloadFacts("w", 20, "pod", {"pod": "new"}), WorkloadFacts("w", 10, "pod", {"pod": "old"}))
    got = samples(dataclasses.replace(EMPTY, facts=facts), fmt)
    assert [dict(labels) for name, labels in got if name == "wattlens_workload_info"] == [
        {"workload": "w", "kind": "pod", "pod": "new"}
    ]


hostile = st.text(st.sampled_from('ab"\\\n\r\0\t{},= #é漢\udc80\x7f') | st.characters())
amounts = st.integers(0, 10**22)


@FORMATS
@given(names=st.sets(hostile.filter(bool), max_size=6), energy_uj=amounts, tokens=st.integers(0, 2**63))
def test_hostile_names_come_back_as_they_went_in(fmt: Format, names: set[str], energy_uj: int, tokens: int) -> None:
    device = Player(gpus=2).at(1).devices[0]
    snapshot = dataclasses.replace(
        EMPTY,
        devices=(device,),
        workloads=tuple(WorkloadEnergy(n, device.info.uuid, State.IDLE, Method.BRIDGED, energy_uj) for n in sorted(names)),
        tokens=tuple(TokenCount(n, n, "prompt", tokens) for n in sorted(names)),
        health=tuple(SourceHealth(n, False, reason=n) for n in sorted(names)),
    )
    got = samples(snapshot, fmt)
    energies = {dict(labels)["workload"]: v for (name, labels), v in got.items() if "workload_energy" in name}
    assert energies == {escape_controls(n): float(Fraction(energy_uj, 1_000_000)) for n in names}
    counts = {dict(labels)["model"]: v for (name, labels), v in got.items() if name == "wattlens_tokens_total"}
    assert counts == {escape_controls(n): float(tokens) for n in names}
    reasons = {dict(labels)["reason"] for name, labels in got if name == "wattlens_source_down_info"}
    assert reasons == {escape_controls(n) for n in names}


def escape_controls(name: str) -> str:
    """Controls other than the line feed, and lone surrogates, as visible text; all else as it is."""
    return "".join(
        f"\\x{ord(c):02x}" if (c < " " and c != "\n") or c == "\x7f" or "\ud800" <= c <= "\udfff" else c for c in name
    )


def test_the_client_chooses_the_format() -> None:
    openmetrics, text = "application/openmetrics-text", "text/plain"
    for accept in ("", "*/*", text, f"{openmetrics};version=0.0.1", f"{text};version=0.0.4;q=0.9,{openmetrics};q=0.1",
                   f"{openmetrics};q=0"):  # fmt: skip
        assert negotiate(accept) is Format.TEXT, accept
    for accept in (
        openmetrics, f"{openmetrics};q=nonsense;;;,,,",
        # Prometheus 2.53 and 3.x
        f"{openmetrics};version=1.0.0;q=0.5,{openmetrics};version=0.0.1;q=0.4,{text};version=0.0.4;q=0.3,*/*;q=0.2",
        f"{openmetrics};version=1.0.0;escaping=allow-utf-8;q=0.6,{text};version=1.0.0;q=0.5,*/*;q=0.1",
    ):  # fmt: skip
        assert negotiate(accept) is Format.OPENMETRICS, accept


@pytest.mark.prometheus
def test_promtool_has_nothing_to_say() -> None:
    page = render(Player(lost={1}, extra=3).at(5), Format.TEXT)
    done = subprocess.run([need_program("promtool"), "check", "metrics"], input=page, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


if __name__ == "__main__":
    for wanted, path in PAGES.items():
        path.write_bytes(render(Player(gpus=3, lost={2}).at(5), wanted))
