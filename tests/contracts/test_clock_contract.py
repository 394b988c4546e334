"""What every `Clock` must do, and what the simulated node's adds."""

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.runtime.clock import RealClock, SimulatedClock
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.plant import Plant

START_NS = 1_700_000_000_000_000_000


def node(folder, **arguments):
    return Plant.create(folder / "plant", [BoardSpec("A40")], seed=1, **arguments)


@pytest.fixture(params=["real", "simulated", "manual"])
def clock(request, tmp_path):
    if request.param == "real":
        return RealClock()
    node(tmp_path, rate=20.0, manual=request.param == "manual").close()
    return SimulatedClock(tmp_path / "plant")


def test_time_never_falls(clock):
    utc, boot = clock.utc_ns(), clock.boot_ns()
    for _ in range(1000):
        later_utc, later_boot = clock.utc_ns(), clock.boot_ns()
        assert later_utc >= utc
        assert later_boot >= boot
        utc, boot = later_utc, later_boot


def test_sleep_lasts_at_least_the_requested_time(clock):
    utc, boot = clock.utc_ns(), clock.boot_ns()
    clock.sleep(0.05)
    assert clock.boot_ns() - boot >= 50_000_000
    assert clock.utc_ns() > utc
    clock.sleep(0.0)
    clock.sleep(-1.0)


def test_utc_is_of_our_time(clock):
    assert 1_600_000_000 < clock.utc_ns() / 1e9 < 4_000_000_000


def test_the_simulated_clock_is_the_plants(tmp_path):
    plant = node(tmp_path, rate=20.0, start_utc_ns=START_NS)
    clock = SimulatedClock(tmp_path / "plant")
    before = plant.now_ns()
    utc_ns = clock.utc_ns()
    assert START_NS <= before <= utc_ns <= plant.now_ns()
    assert utc_ns < START_NS + 3600 * 10**9
    earlier, utc, boot = clock.boot_ns(), clock.utc_ns(), clock.boot_ns()
    clock.sleep(1.0)
    between = (clock.boot_ns() - boot, clock.utc_ns() - utc, clock.boot_ns() - earlier)
    assert list(between) == sorted(between), "both pass as fast"


def test_manual_time_advances_on_request_and_by_sleeping(tmp_path):
    plant = node(tmp_path, manual=True, start_utc_ns=START_NS)
    clock = SimulatedClock(tmp_path / "plant")
    boot = clock.boot_ns()
    assert clock.utc_ns() == plant.now_ns() == START_NS
    clock.sleep(1.5)
    assert plant.now_ns() == START_NS + 1_500_000_000
    plant.advance_to(START_NS + 2_000_000_000)
    assert clock.utc_ns() == START_NS + 2_000_000_000
    assert clock.boot_ns() - boot == 2_000_000_000
    with pytest.raises(Exception, match="passed"):
        plant.advance_to(START_NS)


@pytest.mark.parametrize("manual", [False, True])
def test_utc_is_set_for_all_processes_of_a_node_while_its_boot_clock_goes_on(tmp_path, manual):
    plant = node(tmp_path, manual=manual, start_utc_ns=START_NS)
    clock, other = SimulatedClock(tmp_path / "plant"), SimulatedClock(tmp_path / "plant")
    for ahead_s in (3600, -86_400, 0):
        boot, plant_ns = other.boot_ns(), plant.now_ns()
        clock.set_utc(ahead_s * 10**9)
        assert plant_ns <= other.utc_ns() - ahead_s * 10**9 <= plant.now_ns()
        assert 0 <= other.boot_ns() - boot <= plant.now_ns() - plant_ns + 10**9
        clock.sleep(0.01)
        assert 10**7 <= plant.now_ns() - plant_ns < 600 * 10**9
    clock.set_utc(-(1 << 62))
    assert other.utc_ns() == 0, "int64 ns from 1970"


def test_what_is_no_plant_is_refused_in_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"^[^\n]*sim start[^\n]*$"):
        SimulatedClock(tmp_path / "none")
    for content in (b"", b"x" * 10_000):
        (tmp_path / "plant").write_bytes(content)
        with pytest.raises(UsageError, match=r"^[^\n]+$"):
            SimulatedClock(tmp_path / "plant")
