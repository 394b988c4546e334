"""Capture files: written, loaded by the simulator, and captured again; and every way to get one wrong."""

import gzip
import json
import random
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError
from energy_agent.metering.sensors.profile import PARAMETERS, profile
from energy_agent.node.sensor_file import MAX_B, SCHEMA, tick_ns_by_board
from energy_agent.sim import scenario
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.gpu.sensor_capture import captured_sensors, read_capture, shipped_captures
from energy_agent.sim.gpu.sensors import random_board
from tests.doubles.gpus import H100
from tests.doubles.sensor_traces import traces_of, true_sensors, watch_gpus
from tests.support import refusal
from wattlens.doctor.sensor_plot import draw
from wattlens.doctor.sensors import MeasuredSensors, describe, write_capture

HEAD = {"schema": SCHEMA, "wattlens": "1", "simulated": True, "seconds": 60.0, "driver": "580.65.06", "nvml": "13"}


def holds(estimate, value):
    if estimate.value is None or isinstance(value, str) or isinstance(estimate.value, str):
        return None if estimate.value is None else estimate.value == value
    return estimate.low <= value <= estimate.high


def measure(folder, specs, seed):
    """By GPU: its profile, and the file that the doctor writes of it."""
    captures = []
    for n, watcher in enumerate(watch_gpus(folder, specs, seed)):
        measured = profile(traces_of(watcher))
        gpu = {"index": 0, "uuid": "GPU-secret", "name": "NVIDIA GPU", "read_ms": watcher.read_ms, **measured.as_json()}
        path = folder / f"{seed}-{n}.json.gz"
        write_capture(path, MeasuredSensors(dict(HEAD), {0: gpu}, {0: watcher.changes}))
        captures.append((measured, path))
    return captures


def round_trip(folder, specs, seed):
    """Whether the intervals hold the truth of the GPU, and of the GPU that is simulated from the capture."""
    first = measure(folder, specs, seed)
    again = [BoardSpec(spec.sku, capture=path) for spec, (_, path) in zip(specs, first, strict=True)]
    second = measure(folder, again, seed + 1)
    direct = [holds(m.sensors[k], v) for s, (m, _) in zip(specs, first, strict=True) for k, v in true_sensors(s).items()]
    loaded = []
    for spec, (before, _), (after, _) in zip(again, first, second, strict=True):
        for name, value in true_sensors(spec).items():
            if before.sensors[name].value is not None:
                loaded.append(holds(after.sensors[name], value))
    return direct, loaded


def shares(outcomes):
    conclusive = [o for o in outcomes if o is not None]
    return sum(conclusive) / len(conclusive), len(conclusive) / len(outcomes)


@pytest.mark.smoke
def test_a_capture_makes_the_simulator_a_gpu_with_the_same_sensors(tmp_path, monkeypatch):
    monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
    specs = [random_board(random.Random(n), c) for n, c in enumerate(("separate_clocks", "no_counter"))]
    direct, loaded = round_trip(tmp_path, specs, 5)
    assert shares(direct)[0] >= 0.85
    assert shares(loaded)[0] >= 0.85


@pytest.mark.smoke
@pytest.mark.parametrize("seed", [100, *(pytest.param(seed, marks=pytest.mark.proof) for seed in (200, 300))])
def test_random_gpus_survive_the_round_trip(tmp_path, monkeypatch, seed):
    monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
    draw_of = random.Random(f"round trip {seed}")
    specs = [random_board(draw_of, "any") for _ in range(10)]
    direct, loaded = round_trip(tmp_path, specs, seed)
    print(
        f"seed {seed}: intervals hold the truth {shares(direct)[0]:.1%}, given {shares(direct)[1]:.1%}; loaded {shares(loaded)}"
    )
    assert shares(direct)[0] >= 0.9
    assert shares(direct)[1] >= 0.8
    assert shares(loaded)[0] >= 0.9


def capture(**changed):
    gpu = {"name": "X", "sensors": {"tick_ms": {"value": 99.7, "low": 99.0, "high": 100.4, "n": 9, "basis": "measured"},
           "power_clock": {"value": "own", "n": 3}, "window_ms": {"absent": "no load"}}, "changes": {"energy": [[0, 2, 3]]},
           "tick_max_ms": {"value": 107.0, "low": 104.0, "high": 110.0, "n": 9}}  # fmt: skip
    return HEAD | {"boards": [gpu | changed]}


def test_measured_values_replace_those_of_the_gpu_model_and_absent_ones_do_not(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(capture()))
    assert captured_sensors(path) == {"tick_ms": 100.0, "power_clock": 1.0}
    path.write_text(json.dumps(capture(sensors={"average_clock": {"value": "own"}, "tick_jitter_ms": {"value": 5.48}})))
    assert captured_sensors(path) == {"average_clock": 1.0, "tick_jitter_ms": 5.0, "average_window_ms": 1000.0}
    assert tick_ns_by_board(path) == {"X": 110_000_000}  # the agent takes it too, by product name


def test_a_scenario_names_a_capture_next_to_it(tmp_path):
    (tmp_path / "c.json.gz").write_bytes(gzip.compress(json.dumps(capture()).encode()))
    (tmp_path / "node.yaml").write_text("boards: [{count: 2, sku: A40, capture: c.json.gz, sensors: {window_ms: 30}}]")
    specs = scenario.load(str(tmp_path / "node.yaml")).board_specs()
    assert [s.capture for s in specs] == [tmp_path / "c.json.gz"] * 2
    with Plant.create(tmp_path / "plant", specs, seed=1, manual=True) as plant:
        assert plant.count == 2
    (tmp_path / "c.json.gz").write_bytes(b"{}")
    assert "c.json.gz: schema" in refusal(scenario.load, str(tmp_path / "node.yaml"))
    (tmp_path / "node.yaml").write_text("boards: [{count: 2, sku: A40, capture: none.gz}]")
    assert "none.gz: cannot read" in refusal(scenario.load, str(tmp_path / "node.yaml"))
    both = b"boards: [{count: 1, sku: A40, capture: c, random: any}]"
    assert "exclude each other" in refusal(scenario.parse, both, "x")


def test_a_wrong_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "c.json.gz"
    for sensors, says in (
        ({"tick_ms": {"value": 0}}, "tick_ms: expected a whole number from 1 to 1000"),
        ({"tik": {"value": 3}}, "unknown sensor parameter 'tik'"),
        ({"power_clock": {"value": "mine"}}, "power_clock: expected one of"),
        ({"tick_ms": {"value": 1e300}}, "less than or equal"),
        ({f"p{n}": {"value": 1} for n in range(65)}, "at most 64"),
    ):
        path.write_bytes(gzip.compress(json.dumps(capture(sensors=sensors)).encode()))
        assert says in refusal(captured_sensors, path)
    for changes, says in (
        ({"energy": [[0, 1]]}, "changes"),
        ({"energy": [[-1, 1, 1]]}, "changes"),
        ({s: [] for s in "abcd"}, "changes"),
        ({"energy": [[0, 0, 0]] * 200_001}, "changes"),
    ):
        path.write_bytes(gzip.compress(json.dumps(capture(changes=changes)).encode()))
        assert says in refusal(captured_sensors, path)
    bomb = zlib.compressobj(wbits=31)
    path.write_bytes(bomb.compress(b" " * (MAX_B + 1)) + bomb.flush())
    assert path.stat().st_size < MAX_B / 100
    assert "when decompressed" in refusal(captured_sensors, path)
    path.write_bytes(gzip.compress(json.dumps(capture()).encode())[:-9])
    assert "ends within" in refusal(captured_sensors, path)
    path.write_bytes(b"\x1f\x8bno gzip")
    assert "not valid gzip" in refusal(captured_sensors, path)
    path.write_text(json.dumps(HEAD | {"boards": []}))
    assert "boards" in refusal(captured_sensors, path)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_capture_or_a_usage_error(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("any") / "c"
    for content in (raw, gzip.compress(raw), b"\x1f\x8b" + raw):
        path.write_bytes(content)
        with pytest.raises(UsageError):
            captured_sensors(path)


def test_a_capture_holds_one_gpu_without_its_uuid_and_is_not_overwritten(tmp_path):
    gpu = {"index": 3, "uuid": "GPU-secret", "name": "X", "read_ms": 2.0, "sensors": {}, "tick_max_ms": {}}
    rows = {"energy": [(5_000_000, 7_000_000, 42)]}
    path = tmp_path / "c.json.gz"
    write_capture(path, MeasuredSensors(dict(HEAD), {3: gpu}, {3: rows}))
    text = gzip.decompress(path.read_bytes()).decode()
    assert "secret" not in text
    assert json.loads(text)["boards"][0]["changes"] == {"energy": [[0, 2000, 42]]}
    assert read_capture(path).simulated
    assert "cannot write" in refusal(write_capture, path, MeasuredSensors(dict(HEAD), {3: gpu}, {3: rows}))
    assert "no reading" in refusal(write_capture, tmp_path / "d", MeasuredSensors(dict(HEAD), {3: gpu}, {}))


def test_every_shipped_capture_is_of_a_real_gpu_and_loads():
    for path in shipped_captures().values():
        assert captured_sensors(path)
        assert not read_capture(path).simulated


def test_the_plot_fits_its_width_and_needs_no_colours(tmp_path, monkeypatch):
    monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
    (watcher,) = watch_gpus(tmp_path, [BoardSpec(H100)], 3, 10.0)
    for unicode in (True, False):
        lines = ["".join(text for _, text in line) for line in draw(watcher.changes, 78, unicode=unicode)]
        assert 10 <= len(lines) < 20
        assert max(map(len, lines)) <= 78
        assert unicode or all(line.isascii() for line in lines)
        assert 15 < lines[2].count("│" if unicode else "|") < 25  # ticks of 100 ms in 2 s
    assert draw({}, 78, unicode=True) == []
    gpu = {"index": 0, "name": "X", "read_ms": 2.0, **profile(traces_of(watcher)).as_json()}
    text = "\n".join("".join(t for _, t in line) for line in describe(MeasuredSensors(dict(HEAD), {0: gpu}, {})))
    assert "SIMULATED" in text
    assert all(name in text or gpu["sensors"][name].get("value") is not None for name in PARAMETERS)


def test_folder_of_contributed_captures_has_instructions():
    folder = Path(scenario.__file__).parent / "gpu" / "captures"
    assert "wattlens doctor --sensors" in (folder / "README.md").read_text()
