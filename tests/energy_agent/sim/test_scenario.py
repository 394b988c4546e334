"""Scenario files: those that ship, and every way to get one wrong."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError
from energy_agent.sim import scenario

BOARD = "boards: [{count: 1, sku: A40}]\n"


def workload(text: str) -> str:
    return f"{BOARD}workloads: [{{name: a, kind: burst, gpus: [0], memory_gb: 1, {text}}}]"


def test_what_ships():
    assert list(scenario.shipped()) == ["a100-node", "bursty", "h100-node", "idle", "mixed-node"]


@pytest.mark.parametrize("name", sorted(scenario.shipped()))
def test_a_shipped_scenario_is_described_and_survives_being_written(name):
    loaded = scenario.load(name)
    assert loaded.description
    assert scenario.parse(scenario.dump(loaded).encode(), "again") == loaded


def test_the_node_of_the_demo():
    node = scenario.load("h100-node")
    assert node.skus == ("H100-SXM5-80GB",) * 8
    assert {w.kind: w.gpus for w in node.workloads} == {"training": (0, 1, 2, 3), "serving": (4, 5), "notebook": (6,)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bords: []", "unknown key 'bords'; the nearest is 'boards'"),
        ("boards: [{count: 1, sku: H100}]", r"boards\.0\.sku: unknown board 'H100'; the nearest is 'H100-SXM5-80GB'"),
        ("boards: [{count: 65, sku: A40}]", r"boards\.0\.count"),
        ("boards: []", "boards: "),
        ("seed: 3", "boards: Field required"),
        ("boards: [{count: .nan, sku: A40}]", r"boards\.0\.count: .*finite"),
        ("boards: [{count: yes, sku: A40}]", r"boards\.0: count: a number is wanted"),
        (BOARD + "seed: on", "seed: a number is wanted"),
        (workload("jitter: no"), r"workloads\.0: jitter: a number is wanted"),
        (BOARD + "workloads: [{name: a, kind: burst, gpus: [no]}]", r"workloads\.0: gpus: a number is wanted"),
        (BOARD + "rate: 21", "rate: .*20"),
        (BOARD + "rate: 0", "rate: .*0"),
        (BOARD + "seed: -1", "seed"),
        (workload("onn_s: 1"), r"workloads\.0: unknown key 'onn_s'; the nearest is 'on_s'"),
        (workload("on_s: 0"), r"workloads\.0\.on_s"),
        (workload("cgroup: ../etc"), r"workloads\.0\.cgroup: must be 'systemd'"),
        (workload("start_s: 5, end_s: 5"), "end_s of workload 'a' is not after its start_s"),
        (BOARD + "workloads: [{name: a, kind: batch, gpus: [0]}]", "kind"),
        (BOARD + "workloads: [{name: a, kind: burst, gpus: [0]}, {name: a, kind: burst, gpus: [0]}]", "'a' is there twice"),
        (BOARD + "workloads: [{name: a, kind: burst, gpus: [1]}]", "a GPU that is not there"),
        (BOARD + "workloads: [{name: a, kind: burst, gpus: [0, 0]}]", "name a GPU twice"),
        (BOARD + "workloads: [{name: a, kind: burst, gpus: [0], memory_gb: 60}]", "hold 60 GB of gpu0, more than a A40 has"),
        (BOARD + "workloads: [{name: ../a, kind: burst, gpus: [0]}]", r"workloads\.0\.name"),
        (
            BOARD + "workloads: [{name: a, kind: serving, gpus: [0], model: llama}]",
            r"workloads\.0\.model: unknown model 'llama'",
        ),
        (BOARD + "workloads: [{name: a, kind: serving, gpus: [0], memory_gb: 1, arrivals: trace}]", "go together"),
        (BOARD + "faults: [{at_s: 1, gpu: 0, kind: lots}]", r"faults\.0: unknown fault 'lots'; the nearest is 'lost'"),
        (BOARD + "faults: [{at_s: 1, gpu: 1, kind: lost}]", "GPU 1 is not there"),
        (BOARD + "faults: [{at_s: 1, gpu: 0, kind: xid, value: 13, for_s: 2}]", "for_s has no meaning"),
        (BOARD + "facility: {coolin: air}", r"facility: unknown key 'coolin'; the nearest is 'cooling'"),
        (BOARD + "facility: {cooling: on}", r"facility\.cooling: "),
        (BOARD + "facility: {it_scale: yes}", "facility: it_scale: a number is wanted"),
        (BOARD + "facility: {pdu_weights: []}", r"facility\.pdu_weights"),
        (BOARD + "facility: {meters: {mian: {}}}", "facility: meters: unknown meter 'mian'; the nearest is 'main'"),
        (BOARD + "facility: {meters: {pv: {}}}", "facility: meters: unknown meter 'pv'"),
        (BOARD + "facility: {meters: {main: {gain: 9}}}", r"facility\.meters\.main\.gain"),
        (BOARD + "facility: {starts_at: 2026-07-01T12:00:00Z}", r"facility\.starts_at: .*leave out the time zone"),
        (BOARD + "facility: {faults: [{at_s: 1, meter: main, kind: lost}]}", "unknown fault of a meter 'lost'"),
        (BOARD + "facility: {faults: [{at_s: 1, meter: main, kind: reset, for_s: 2}]}", "for_s has no meaning"),
        (BOARD + "facility: {faults: [{at_s: 1, meter: pv, kind: reset}]}", "facility: faults: unknown meter 'pv'"),
        (
            BOARD + "facility: {meters: {ups: {absent: true}}, faults: [{at_s: 1, meter: ups, kind: reset}]}",
            "facility: faults: unknown meter 'ups'",
        ),
        ("boards: [", "line 1: not YAML"),
        ("a: &x 1\nb: *x", "aliases are not allowed"),
        ("[" * 5000, "nested deeper"),
        ("- " * 5000, "nested deeper"),
        ("- 1", "must be a mapping"),
        ("", "must be a mapping"),
    ],
)
def test_a_wrong_scenario_is_told_in_one_line_that_names_file_and_key(tmp_path, text, says):
    path = tmp_path / "node.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=says) as caught:
        scenario.load(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_scenario_or_a_usage_error(raw):
    with contextlib.suppress(UsageError):
        scenario.parse(raw, "x")


def test_a_file_that_is_not_there_or_too_large(tmp_path):
    with pytest.raises(UsageError, match=r"unknown scenario 'h100'; the nearest is 'h100-node'"):
        scenario.load("h100")
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (scenario.SIZE_LIMIT_B + 1))
    with pytest.raises(UsageError, match="larger than"):
        scenario.load(str(large))


def test_overrides_are_checked_too():
    node = scenario.load("idle")
    assert scenario.override(node, seed=9, rate=2.5).model_dump(include={"seed", "rate"}) == {"seed": 9, "rate": 2.5}
    assert scenario.override(node) == node
    for bad in (float("nan"), 0.0, 99.0):
        with pytest.raises(UsageError, match="rate"):
            scenario.override(node, rate=bad)


def test_a_trace_lies_beside_its_scenario(tmp_path):
    (tmp_path / "node.yaml").write_text(
        BOARD + "workloads: [{name: a, kind: serving, gpus: [0], memory_gb: 40, arrivals: trace, trace: t.csv}]"
    )
    assert scenario.load(str(tmp_path / "node.yaml")).workloads[0].trace == str(tmp_path / "t.csv")


def test_a_fault_for_some_time_is_cleared_again():
    node = scenario.parse(
        (BOARD + "faults: [{at_s: 2, gpu: 0, kind: lost, for_s: 3}, {at_s: 9, gpu: 0, kind: clear}]").encode(), "x"
    )
    assert [(e.at_ns // 10**9, e.kind, e.clear) for e in node.fault_events()] == [
        (2, "lost", False),
        (5, "lost", True),
        (9, "", True),
    ]


def test_a_building_survives_being_written():
    text = BOARD + (
        "facility: {cooling: liquid, pdu_weights: [1, 2.5], starts_at: 2026-07-01T12:00:00, pv_peak_w: 10,\n"
        "  meters: {main: {energy_step_wh: 100}, ups: {absent: true}}, faults: [{at_s: 1, meter: pv, kind: stuck, for_s: 2}]}"
    )
    node = scenario.parse(text.encode(), "x")
    assert scenario.parse(scenario.dump(node).encode(), "again") == node
    assert node.facility is not None
    assert {p.id: p.parent for p in node.facility.points if p.id.startswith("pdu")} == {"pdu-a": "main", "pdu-b": "main"}
    assert [(e.at_ns // 10**9, e.kind, e.clear) for e in node.facility.fault_events()] == [
        (1, "stuck", False),
        (3, "stuck", True),
    ]
