"""One device's account: what survives a restart, event times at any period, XIDs across readers."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.types import DeviceInfo, DeviceSample, State
from energy_agent.device_account import UNKNOWN_POWER_MAX_MW, DeviceAccount, SensorFor
from energy_agent.holders.processes import DeviceHolders
from energy_agent.metering.attribute import Holding

INFO = DeviceInfo("GPU-a", 0, "H100", "Hopper", "00:01.0", "580.1", power_limit_max_mw=700_000)
SENSOR_FOR = SensorFor(2_500_000_000)
T0 = 1_790_000_000 * 10**9
BOOT0 = 10**12


def sample(at_ns, energy_mj=None, **more):
    return DeviceSample("GPU-a", T0 + at_ns, BOOT0 + at_ns, energy_mj=energy_mj, **more)


def account():
    return DeviceAccount(INFO, SENSOR_FOR(INFO))


def feed(a, at_s, energy_mj, **more):
    return a.feed(sample(round(at_s * 1e9), energy_mj, power_mw=300_000, **more), "boot")


def restored(a):
    return DeviceAccount.restore(a.dump(), a.dump_info(), SENSOR_FOR)


def test_a_restored_account_bridges_from_its_last_reading():
    a = account()
    a.holders = DeviceHolders(Holding({"w": 0}))
    feed(a, 0, 1_000_000)
    feed(a, 1, 1_300_000, gpu_percent=80)
    b = restored(a)
    assert b.dump() == a.dump()
    b.holders = DeviceHolders(Holding({"w": 5}))
    (entry,), gap = feed(b, 61, 19_300_000)
    assert (entry.energy_uj, entry.workload, entry.method, gap) == (18_000_000_000, "w", "bridged", None)


def test_a_state_without_a_driver_epoch_is_restored_and_takes_the_one_it_is_told():
    a = account()
    feed(a, 0, 1_000_000)
    feed(a, 1, 1_300_000)
    old, info = json.loads(a.dump()), json.loads(a.dump_info())
    del old["meter"]["driver_epoch"], info["driver_epoch"]
    b = DeviceAccount.restore(json.dumps(old), json.dumps(info), SENSOR_FOR)
    b.info = replace(INFO, driver_epoch="41")  # as the reader's hello tells it
    (entry,), gap = feed(b, 61, 19_300_000)
    assert (entry.energy_uj, gap, b.meter.driver_epoch) == (18_000_000_000, None, "41")
    c = restored(b)
    c.info = replace(INFO, driver_epoch="97")
    (entry,), gap = feed(c, 161, 19_900_000)  # more than before, and yet all of it is new
    assert (entry.energy_uj, gap.reason, c.meter.driver_epoch) == (19_900_000_000, "driver reload", "97")


def test_without_the_same_holder_at_both_ends_the_bridge_belongs_to_nobody():
    a = account()
    a.holders = DeviceHolders(Holding({"w": 0}))
    feed(a, 0, 1_000_000)
    feed(a, 1, 1_300_000)
    b = restored(a)
    b.holders = DeviceHolders(Holding({"other": 0}))
    (entry,), _ = feed(b, 61, 19_300_000)
    assert entry.state is State.GAP


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 600_000), st.booleans()), min_size=1, max_size=15),
    st.integers(0, 14),
)
def test_a_restart_after_any_reading_changes_no_total(steps, cut):
    def run(restart_at):
        a, now, energy, booked = account(), 0, 10**6, 0
        for i, (ms, mj, held) in enumerate(steps):
            if i == restart_at:
                a = restored(a)
            a.holders = DeviceHolders(Holding({"w": 0} if held else {}))
            now, energy = now + ms, energy + mj * ms // 1000
            entries, _ = a.feed(sample(now * 10**6, energy, power_mw=200_000), "boot")
            booked += sum(e.energy_uj for e in entries)
        return booked, a.meter

    assert run(cut) == run(None)


@pytest.mark.parametrize(
    ("text", "info"),
    [("", "{}"), *((text, account().dump_info()) for text in ("", "[]", "{}", "null", "not json")), (account().dump(), "{}")],
)
def test_what_is_not_a_state_is_refused(text, info):
    with pytest.raises(ValueError, match=r"not a device state"):
        DeviceAccount.restore(text, info, SENSOR_FOR)


def test_a_state_of_a_newer_version_is_read():
    a = account()
    feed(a, 0, 1_000)
    body, info = json.loads(a.dump()), json.loads(a.dump_info())
    info["new"] = body["meter"]["new"] = body["new"] = 1
    assert DeviceAccount.restore(json.dumps(body), json.dumps(info), SENSOR_FOR).meter == a.meter


def test_a_state_of_an_older_version_is_read():
    a = account()
    feed(a, 0, 1_000)
    body = json.loads(a.dump())
    del body["meter"]["slack_uj"]
    assert DeviceAccount.restore(json.dumps(body), a.dump_info(), SENSOR_FOR).meter is not None


@pytest.mark.parametrize("per_second", [1, 2, 10, 20])
def test_event_time_is_the_same_at_any_period(per_second):
    a = account()
    for i in range(10 * per_second + 1):
        full = {"event_reasons": 0x4, "sm_clock_mhz": 1_500} if i % per_second == 0 else {}
        feed(a, i / per_second, 1_000_000 + 300_000 * i // per_second, **full)
    assert a.event_ns["sw_power_cap"] == 10 * 10**9
    assert a.event_ns["hw_slowdown"] == 0


def test_event_time_does_not_grow_over_a_gap_in_the_readings():
    a = account()
    feed(a, 0, 1_000, event_reasons=0x4, sm_clock_mhz=1)
    feed(a, 600, 100_000, event_reasons=0x4, sm_clock_mhz=1)
    assert a.event_ns["sw_power_cap"] == SENSOR_FOR(INFO).gap_ns


def test_xids_are_added_up_whatever_a_new_reader_starts_from():
    a = account()
    for at, counts in enumerate([{}, {31: 1}, {31: 1}, {31: 3, 79: 1}, {79: 1}, {31: 1, 79: 1}]):
        feed(a, at, 1_000 * at, xid_counts=counts)
    assert a.xid == {31: 4, 79: 1}


def test_a_fast_reading_keeps_the_rest_of_the_last_full_one():
    a = account()
    feed(a, 0, 1_000, sm_clock_mhz=1_500, temperature_c=50, gpu_percent=30)
    feed(a, 0.1, 31_000)
    assert (a.sample.sm_clock_mhz, a.sample.temperature_c, a.sample.energy_mj) == (1_500, 50, 31_000)
    feed(a, 1.0, 301_000, sm_clock_mhz=900)
    assert (a.sample.sm_clock_mhz, a.sample.temperature_c) == (900, None)


def test_stepping_back_books_the_same_energy_again_once():
    a = account()
    feed(a, 0, 1_000_000)
    feed(a, 1, 1_300_000)
    then = a.dump()
    feed(a, 2, 1_600_000)
    feed(a, 3, 1_900_000)
    a.step_back(then)
    (entry,), _ = feed(a, 4, 2_200_000)
    assert entry.energy_uj == 900_000_000


def test_the_sensor_follows_the_board():
    assert SENSOR_FOR(INFO).power_max_mw == 840_000
    assert SENSOR_FOR(replace(INFO, power_limit_max_mw=None)).power_max_mw > UNKNOWN_POWER_MAX_MW
    assert SENSOR_FOR(replace(INFO, architecture="Volta")).tick_ns < SENSOR_FOR(INFO).tick_ns
