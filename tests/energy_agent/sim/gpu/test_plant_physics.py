"""The plant against the measurements it was calibrated to, and its own laws."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.sim.gpu.boards import BoardSpec, board, boards
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.gpu.plant_abi import board_fields
from energy_agent.sim.gpu.truth import Truth

START_NS = 1_700_000_000_000_000_000
S = 1_000_000_000


def make(folder: Path, *specs: BoardSpec, seed: int = 7) -> Plant:
    return Plant.create(folder / "plant", specs, seed=seed, manual=True, start_utc_ns=START_NS)


@pytest.fixture
def nvml(tmp_path, monkeypatch):
    """Opens NVML on the plant that a test has made in tmp_path."""
    monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
    nvml = RealNvml(library_path())
    opened = []

    def start():
        nvml.init()
        opened.append(True)
        return nvml

    yield start
    for _ in opened:
        nvml.shutdown()


def settle(plant: Plant, seconds: float) -> None:
    plant.advance_to(plant.now_ns() + round(seconds * S))


def run_at(plant: Plant, nvml: RealNvml, mhz: int, boundness: float) -> tuple[float, float]:
    """Mean true power over 5 s at a locked clock and the progress made per second, once the temperature has settled."""
    device = nvml.device_by_index(0)
    nvml.set_locked_sm_clocks_mhz(device, 210, mhz)
    slot = plant.attach_process(0, os.getpid(), memory_b=0)
    plant.submit(0, slot, reference_ns=1000 * S, memory_boundness=boundness)
    settle(plant, 60)
    before, done = plant.truth(0), plant.done_ns(0, slot)
    settle(plant, 5)
    after = plant.truth(0)
    assert after.sm_clock_mhz == mhz
    watts, speed = (after.true_uj - before.true_uj) / 5e6, (plant.done_ns(0, slot) - done) / 5e9
    plant.detach_process(0, slot)
    return watts, speed


def test_a100_dgemm_draws_what_was_measured(tmp_path, nvml):
    """Points of the published DGEMM sweep; the fit's own rms is 1.0 W below and 4.6 W above the knee."""
    plant = make(tmp_path, BoardSpec("A100-SXM4-80GB"))
    lib = nvml()
    for mhz, watts in ((210, 82), (570, 129), (1020, 191), (1110, 233), (1200, 277), (1290, 331)):
        assert run_at(plant, lib, mhz, 0.0)[0] == pytest.approx(watts, rel=0.05), mhz


def test_a100_streaming_draws_what_was_measured_and_keeps_its_speed(tmp_path, nvml):
    """BabelStream at 1005 to 1410 MHz: 145 to 228 W, bandwidth flat within half a percent."""
    plant = make(tmp_path, BoardSpec("A100-SXM4-80GB"))
    lib = nvml()
    for mhz, watts in ((1005, 145), (1110, 155), (1200, 170), (1305, 190), (1410, 228)):
        drawn, speed = run_at(plant, lib, mhz, 1.0)
        assert drawn == pytest.approx(watts, rel=0.065), mhz
        assert speed == pytest.approx(1.0, rel=0.005), mhz


def test_below_the_bandwidth_knee_streaming_slows(tmp_path, nvml):
    plant = make(tmp_path, BoardSpec("A100-SXM4-80GB"))
    assert run_at(plant, nvml(), 510, 1.0)[1] < 0.7


def test_work_follows_the_clock_by_its_boundness(tmp_path, nvml):
    """T(f) = T_ref (m + (1 - m) f_ref / f), the time model of the calibration."""
    plant = make(tmp_path, BoardSpec("A100-SXM4-80GB"))
    lib = nvml()
    for boundness in (0.0, 0.3, 0.8):
        speed = run_at(plant, lib, 1110, boundness)[1]
        assert speed == pytest.approx(1 / (boundness + (1 - boundness) * 1410 / 1110), rel=1e-4)


@pytest.mark.parametrize(
    ("sku", "cap_w", "mhz"),
    [("A100-SXM4-80GB", 400, 1365), ("H100-SXM5-80GB", 500, 1308), ("H200-SXM", 600, 1430), ("A40", 300, 1315)],
)
def test_the_power_cap_holds_the_clock_where_it_was_measured(tmp_path, nvml, sku, cap_w, mhz):
    plant = make(tmp_path, BoardSpec(sku, gain=1.0))
    lib = nvml()
    lib.set_power_limit_mw(lib.device_by_index(0), cap_w * 1000)
    slot = plant.attach_process(0, os.getpid(), memory_b=0)
    plant.submit(0, slot, reference_ns=1000 * S, memory_boundness=0.0)
    settle(plant, 60)
    truth = plant.truth(0)
    assert truth.sm_clock_mhz == pytest.approx(mhz, abs=45)
    assert truth.power_w <= cap_w
    assert truth.event_reasons & 0x4
    assert truth.power_cap_ns > 59 * S


def test_a_board_caps_what_its_own_sensor_reads(tmp_path):
    plant = make(tmp_path, BoardSpec("H100-SXM5-80GB", gain=0.95), BoardSpec("H100-SXM5-80GB", gain=1.05, offset_w=10.0))
    for gpu in range(2):
        slot = plant.attach_process(gpu, os.getpid(), memory_b=0)
        plant.submit(gpu, slot, reference_ns=1000 * S, memory_boundness=0.0)
    settle(plant, 60)
    for gpu in range(2):
        truth = plant.truth(gpu)
        assert 680 < truth.gain * truth.power_w + truth.offset_w <= 700


@pytest.mark.parametrize(("intensity", "watts"), [(0.70, 486), (0.825, 560), (1.005, 669)])
def test_h100_decode_draws_what_was_measured(tmp_path, intensity, watts):
    """Decode of an 8B model at batch 8, 32 and 128 on one H100; boundness 0.9, intensity as the workloads set it."""
    plant = make(tmp_path, BoardSpec("H100-SXM5-80GB", gain=1.0))
    slot = plant.attach_process(0, os.getpid(), memory_b=0)
    plant.submit(0, slot, reference_ns=1000 * S, memory_boundness=0.9, intensity=intensity)
    settle(plant, 60)
    assert plant.truth(0).power_w == pytest.approx(watts, rel=0.02)


def test_h100_memory_bound_work_at_the_knee_saves_what_others_measured(tmp_path, nvml):
    """20 to 39 % less energy at no slowdown, over the published measurements of memory-bound work."""
    plant = make(tmp_path, BoardSpec("H100-SXM5-80GB", gain=1.0))
    lib = nvml()
    (fast_w, fast), (knee_w, knee) = (run_at(plant, lib, mhz, 1.0) for mhz in (1980, 1005))
    assert knee == pytest.approx(fast, rel=1e-3)
    assert 0.20 < 1 - knee_w / fast_w < 0.40


def test_heat_slows_the_clock_and_says_so(tmp_path):
    plant = make(tmp_path, BoardSpec("H100-SXM5-80GB"))
    slot = plant.attach_process(0, os.getpid(), memory_b=0)
    plant.submit(0, slot, reference_ns=1000 * S, memory_boundness=0.5)
    settle(plant, 60)
    cool = plant.truth(0)
    plant.fault(0, "ambient", value=70)
    settle(plant, 120)
    hot = plant.truth(0)
    assert hot.event_reasons & 0x20
    assert hot.sm_clock_mhz < cool.sm_clock_mhz
    assert cool.temperature_c < hot.temperature_c < board("H100-SXM5-80GB").values["slowdown_c"] + 3
    plant.clear(0, "ambient")
    settle(plant, 240)
    assert plant.truth(0).sm_clock_mhz == cool.sm_clock_mhz


def test_hot_silicon_leaks(tmp_path, nvml):
    plant = make(tmp_path, BoardSpec("A100-SXM4-80GB"))
    lib = nvml()
    cold, _ = run_at(plant, lib, 1020, 0.0)
    plant.fault(0, "ambient", value=45)
    warm, _ = run_at(plant, lib, 1020, 0.0)
    assert 1.0 < warm - cold < 8.0


def test_an_idle_board_rests_and_a_held_one_keeps_its_clock(tmp_path):
    plant = make(tmp_path, BoardSpec("H100-SXM5-80GB"))
    settle(plant, 30)
    resting = plant.truth(0)
    assert (resting.sm_clock_mhz, resting.event_reasons) == (345, 0x1)
    assert resting.power_w == pytest.approx(74, rel=0.02)
    slot = plant.attach_process(0, os.getpid(), memory_b=0)
    plant.submit(0, slot, reference_ns=S, memory_boundness=0.5)
    settle(plant, 30)
    held = plant.truth(0)
    assert held.sm_clock_mhz == 1980
    assert held.power_w > resting.power_w + 20
    plant.detach_process(0, slot)
    settle(plant, 3)
    assert plant.truth(0).sm_clock_mhz == 345


def test_two_processes_share_the_time_and_the_energy(tmp_path):
    plant = make(tmp_path, BoardSpec("H100-SXM5-80GB"))
    slots = [plant.attach_process(0, os.getpid(), memory_b=0) for _ in range(2)]
    for slot in slots:
        plant.submit(0, slot, reference_ns=100 * S, memory_boundness=1.0)
    settle(plant, 10)
    truth = plant.truth(0)
    assert [s.busy_ns for s in truth.slots] == [5 * S, 5 * S]
    assert sum(s.active_uj for s in truth.slots) == pytest.approx(truth.true_uj, abs=20_000)
    assert truth.busy_ns == 10 * S


def test_waiting_ends_when_the_work_does(tmp_path):
    plant = make(tmp_path, BoardSpec("A100-SXM4-80GB"))
    slot = plant.attach_process(0, os.getpid(), memory_b=0)
    first = plant.submit(0, slot, reference_ns=S, memory_boundness=1.0)
    last = plant.submit(0, slot, reference_ns=2 * S, memory_boundness=0.0, intensity=0.5)
    assert (first, last) == (S, 3 * S)
    assert plant.wait(0, slot, first)
    assert first <= plant.done_ns(0, slot) < last
    assert not plant.wait(0, slot, last, timeout_s=0.5)
    assert plant.wait(0, slot, last)
    assert plant.done_ns(0, slot) == last
    assert plant.now_ns() - START_NS == pytest.approx(3 * S, abs=0.1 * S)
    with pytest.raises(UsageError):
        plant.wait(0, slot, last + 1)


def play(folder: Path, load: list[tuple[int, float, int]], cuts: list[int]) -> Truth:
    """One history of work (ms, boundness, pause ms), looked at once more at each of `cuts`."""
    folder.mkdir()
    plant = make(folder, BoardSpec("H100-SXM5-80GB", counter_model="sampled"), seed=3)
    slot = plant.attach_process(0, os.getpid(), memory_b=0)
    looks = sorted(START_NS + c * 1_000_000 for c in cuts)
    now = START_NS
    for work_ms, boundness, pause_ms in load:
        plant.submit(0, slot, reference_ns=work_ms * 1_000_000, memory_boundness=boundness)
        now += (work_ms + pause_ms) * 1_000_000
        for look in looks:
            if plant.now_ns() < look < now:
                plant.advance_to(look)
        plant.advance_to(now)
    truth = plant.truth(0)
    plant.close()
    return truth


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    load=st.lists(st.tuples(st.integers(1, 400), st.floats(0, 1), st.integers(0, 300)), min_size=1, max_size=7),
    cuts=st.lists(st.integers(1, 3000), max_size=40),
)
def test_the_same_load_gives_the_same_truth_whoever_looks(tmp_path_factory, load, cuts):
    folder = tmp_path_factory.mktemp("same")
    assert play(folder / "a", load, []) == play(folder / "b", load, cuts)


def test_every_board_starts_and_has_a_basis_for_each_number(tmp_path):
    fields = set(board_fields()) - {"gain", "offset_w", "counter_sampled"}  # these are of the single board, not of its SKU
    for sku, data in boards().items():
        assert set(data.values) == fields, sku
        assert set(data.basis.values()) <= {"measured", "fitted", "assumed"}, sku
        steps = (data.values["f_max_mhz"] - data.values["f_min_mhz"]) / data.values["f_step_mhz"]
        assert steps == int(steps), sku
    plant = make(tmp_path, *map(BoardSpec, boards()))
    settle(plant, 10)
    for gpu, data in enumerate(boards().values()):
        assert plant.truth(gpu).power_w == pytest.approx(data.values["idle_w"], rel=0.02)


def test_bad_wishes_are_refused_in_one_line(tmp_path):
    for specs, rate in (
        ([], 1.0),
        ([BoardSpec("A100-SXM4-80GB")] * 65, 1.0),
        ([BoardSpec("A40")], 21.0),
        ([BoardSpec("A40")], 0.0),
    ):
        with pytest.raises(UsageError, match=r"^[^\n]+$"):
            Plant.create(tmp_path / "plant", specs, seed=1, rate=rate)
    with pytest.raises(UsageError, match="A100-SXM4-80GB"):
        make(tmp_path, BoardSpec("A100"))
    with pytest.raises(UsageError, match="p0"):
        make(tmp_path, BoardSpec("A40", overrides={"p0": 1.0}))
    with pytest.raises(UsageError, match="No such file"):
        make(tmp_path / "none", BoardSpec("A40"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "plant").write_bytes(b"not a plant" * 1000)
    with pytest.raises(UsageError, match="not a plant"):
        Plant.attach(tmp_path / "plant")
    plant = make(tmp_path, BoardSpec("A40"))
    for wrong in (-1, 1):
        with pytest.raises(UsageError):
            plant.truth(wrong)
    with pytest.raises(UsageError):
        plant.submit(0, 40, reference_ns=1, memory_boundness=0.0)
    slot = plant.attach_process(0, os.getpid(), memory_b=0)
    for arguments in ({"reference_ns": 0, "memory_boundness": 0.0}, {"reference_ns": 1, "memory_boundness": 1.1}):
        with pytest.raises(UsageError):
            plant.submit(0, slot, **arguments)
