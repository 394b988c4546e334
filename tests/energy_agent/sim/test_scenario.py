"""Scenario files: those that ship, and every way to get one wrong."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError
from energy_agent.runtime.files import yaml_file
from energy_agent.sim import scenario
from tests.support import refusal

BOARD = "boards: [{count: 1, sku: A40}]\n"


BURST = "kind: burst, gpus: [0], memory_gb: 1, "


def test_what_ships_is_described_and_survives_being_written():
    assert list(scenario.shipped()) == ["a100-node", "bursty", "h100-node", "idle", "mixed-node"]
    for name in scenario.shipped():
        loaded = scenario.load(name)
        assert loaded.description
        assert scenario.parse(scenario.dump(loaded).encode(), "again") == loaded
    node = scenario.load("h100-node")  # that of the demo
    assert node.skus == ("H100-SXM5-80GB",) * 8
    assert {w.kind: w.gpus for w in node.workloads} == {"training": (0, 1, 2, 3), "serving": (4, 5), "notebook": (6,)}


def test_wrong_scenario_is_reported_in_one_line_with_file_and_key(tmp_path):
    path = tmp_path / "node.yaml"

    def check(text, says):
        path.write_text(text)
        line = refusal(scenario.load, str(path)).replace("'", "")  # keys have quotes
        assert str(path) in line
        assert says.replace("'", "") in line, text

    for text, says in (
        ("bords: []", "unknown key 'bords'; did you mean 'boards'?"), ("boards: []", "boards: "), ("seed: 3", "boards"),
        ("boards: [{count: 1, sku: H100}]", "boards.0.sku: unknown board 'H100'; did you mean 'H100-SXM5-80GB'?"),
        ("boards: [{count: 65, sku: A40}]", "boards.0.count"), ("boards: [{count: .nan, sku: A40}]", "boards.0.count: "),
        ("boards: [{count: yes, sku: A40}]", "boards.0: count: expected a number"), ("boards: [", "not valid YAML at line 1"),
        ("a: &x 1\nb: *x", "alias *x"), ("[" * 5000, "nested too deeply"), ("- " * 5000, "nested too deeply"),
        ("- 1", "must be a mapping"), ("", "key boards is missing"),
        ("seed: 1\nseed: 2", "key seed is a duplicate"),
    ):  # fmt: skip
        check(text, says)
    for text, says in (
        ("seed: on", "seed: expected a number"), ("rate: 21", "rate: "), ("rate: 0", "rate: "), ("seed: -1", "seed"),
        ("start: 2026-07-01T00:00:00", "key start: expected a time with its time zone"), ("start: soon", "key start: "),
        ("start: 1969-12-31T00:00:00Z", "key start: expected a time"),
        ("faults: [{at_s: 1, gpu: 0, kind: lots}]", "faults.0: unknown fault 'lots'; did you mean 'lost'?"),
        ("faults: [{at_s: 1, gpu: 1, kind: lost}]", "GPU 1: expected an index"),
        ("faults: [{at_s: 1, gpu: 0, kind: xid, value: 13, for_s: 2}]", "for_s is not allowed"),
    ):  # fmt: skip
        check(BOARD + text, says)
    for text, says in (
        ("kind: burst, gpus: [no]", "workloads.0.burst: gpus: expected a number"), ("kind: batch, gpus: [0]", "kind"),
        ("kind: burst, gpus: [0]}, {name: a, kind: burst, gpus: [0]", "duplicate name 'a'"),
        ("kind: burst, gpus: [1]", "expected GPU indices"), ("kind: burst, gpus: [0, 0]", "duplicate GPU"),
        ("kind: burst, gpus: [0], memory_gb: 60", "60 GB of gpu0"),
        ("kind: serving, gpus: [0], model: llama", "workloads.0.serving.model: unknown model 'llama'"),
        ("kind: serving, gpus: [0], memory_gb: 1, arrivals: trace", "require each other"),
        (BURST + "jitter: no", "workloads.0.burst: jitter: expected a number"), (BURST + "on_s: 0", "workloads.0.burst.on_s"),
        (BURST + "onn_s: 1", "workloads.0.burst: unknown key 'onn_s'; did you mean 'on_s'?"),
        (BURST + "cgroup: ../etc", "workloads.0.burst.cgroup: expected 'systemd'"),
        ("kind: levels, gpus: [0], memory_gb: 1, hold_min_s: 4", "hold_min_s of workload a is above its hold_max_s"),
        (BURST + "start_s: 5, end_s: 5", "workload 'a': end_s must be after start_s"),
    ):  # fmt: skip
        check(f"{BOARD}workloads: [{{name: a, {text}}}]", says)
    check(f"{BOARD}workloads: [{{name: ../a, kind: burst, gpus: [0]}}]", "workloads.0.burst.name")
    for text, says in (
        ("coolin: air", "facility: unknown key 'coolin'; did you mean 'cooling'?"), ("cooling: on", "facility.cooling: "),
        ("it_scale: yes", "facility: it_scale: expected a number"), ("pdu_weights: []", "facility.pdu_weights"),
        ("meters: {mian: {}}", "facility: meters: unknown meter 'mian'; did you mean 'main'?"),
        ("meters: {pv: {}}", "facility: meters: unknown meter 'pv'"), ("meters: {main: {gain: 9}}", "meters.main.gain"),
        ("starts_at: 2026-07-01T12:00:00Z", "facility.starts_at: "),
        ("faults: [{at_s: 1, meter: main, kind: lost}]", "unknown meter fault 'lost'"),
        ("faults: [{at_s: 1, meter: main, kind: reset, for_s: 2}]", "for_s is not allowed"),
        ("faults: [{at_s: 1, meter: pv, kind: reset}]", "facility: faults: unknown meter 'pv'"),
        ("meters: {ups: {absent: true}}, faults: [{at_s: 1, meter: ups, kind: reset}]", "faults: unknown meter 'ups'"),
    ):  # fmt: skip
        check(f"{BOARD}facility: {{{text}}}", says)
    meters = ", ".join(f"m{n}: {{}}" for n in range(65))
    check(f"{BOARD}facility: {{meters: {{{meters}}}}}", "expected a mapping of at most 64 entries, got 65")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_scenario_or_a_usage_error(raw):
    with contextlib.suppress(UsageError):
        scenario.parse(raw, "x")


def test_a_file_that_is_not_there_or_too_large_and_a_wrong_override_are_refused(tmp_path):
    assert "'h100'; did you mean 'h100-node'?" in refusal(scenario.load, "h100")
    (tmp_path / "large.yaml").write_bytes(b"#" * (yaml_file.MAX_BYTES + 1))
    assert "larger than" in refusal(scenario.load, str(tmp_path / "large.yaml"))
    node = scenario.load("idle")
    assert scenario.override(node, seed=9, rate=2.5).model_dump(include={"seed", "rate"}) == {"seed": 9, "rate": 2.5}
    assert scenario.override(node) == node
    for bad in (float("nan"), 0.0, 99.0):
        assert "rate" in refusal(scenario.override, node, rate=bad)


def test_a_trace_lies_beside_its_scenario(tmp_path):
    (tmp_path / "node.yaml").write_text(
        BOARD + "workloads: [{name: a, kind: serving, gpus: [0], memory_gb: 40, arrivals: trace, trace: t.csv}]"
    )
    assert scenario.load(str(tmp_path / "node.yaml")).workloads[0].trace == str(tmp_path / "t.csv")


def played(events):
    return [(e.at_ns // 10**9, e.kind, e.clear) for e in events]


def test_a_fault_for_some_time_is_cleared_again():
    text = BOARD + "faults: [{at_s: 2, gpu: 0, kind: lost, for_s: 3}, {at_s: 9, gpu: 0, kind: clear}]"
    node = scenario.parse(text.encode(), "x")
    assert played(node.fault_events()) == [(2, "lost", False), (5, "lost", True), (9, "", True)]


def test_a_building_survives_being_written():
    text = BOARD + (
        "facility: {cooling: liquid, pdu_weights: [1, 2.5], starts_at: 2026-07-01T12:00:00, pv_peak_w: 10,\n"
        "  meters: {main: {energy_step_wh: 100}, ups: {absent: true}}, faults: [{at_s: 1, meter: pv, kind: stuck, for_s: 2}]}"
    )
    node = scenario.parse(text.encode(), "x")
    assert scenario.parse(scenario.dump(node).encode(), "again") == node
    assert node.facility is not None
    assert {p.id: p.parent for p in node.facility.points if p.id.startswith("pdu")} == {"pdu-a": "main", "pdu-b": "main"}
    assert played(node.facility.fault_events()) == [(1, "stuck", False), (3, "stuck", True)]
