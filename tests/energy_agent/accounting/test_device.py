"""One device's account: what survives a restart, event times at any period, XIDs across readers."""

import json
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.accounting.device import DeviceAccount, SensorFor
from energy_agent.core.energy import DeviceInfo, DeviceSample, MigUse, State
from energy_agent.core.meters.plausible import gpu_max_mw
from energy_agent.metering.attribution import Holding
from energy_agent.owners.processes import DeviceOwners
from tests.support import examples

INFO = DeviceInfo("GPU-a", 0, "H100", "Hopper", "00:01.0", "580.1", power_limit_max_mw=700_000)
SENSOR_FOR = SensorFor(2_500_000_000)
T0 = 1_790_000_000 * 10**9
BOOT0 = 10**12


def sample(at_ns, energy_mj=None, **more):
    return DeviceSample("GPU-a", T0 + at_ns, BOOT0 + at_ns, energy_mj=energy_mj, **more)


def account():
    return DeviceAccount(INFO, SENSOR_FOR(INFO))


def feed(a, at_s, energy_mj, **more):
    reading = sample(round(at_s * 1e9), energy_mj, power_mw=300_000, **more)
    a.count_events(reading)
    return a.feed(reading, "boot")


def restored(a):
    return DeviceAccount.restore(a.dump(), a.dump_info(), SENSOR_FOR)


def test_state_without_driver_epoch_takes_the_reported_epoch():
    a = account()
    feed(a, 0, 1_000_000)
    feed(a, 1, 1_300_000)
    old, info = json.loads(a.dump()), json.loads(a.dump_info())
    del old["meter"]["driver_epoch"], info["driver_epoch"]
    b = DeviceAccount.restore(json.dumps(old), json.dumps(info), SENSOR_FOR)
    b.info = replace(INFO, driver_epoch="41")  # as in the reader's hello message
    (entry,), gap = feed(b, 61, 19_300_000)
    assert (entry.energy_uj, gap, b.meter.driver_epoch) == (18_000_000_000, None, "41")
    c = restored(b)
    c.info = replace(INFO, driver_epoch="97")
    (entry,), gap = feed(c, 161, 19_900_000)  # more than before, and yet all of it is new
    assert (entry.energy_uj, gap.reason, c.meter.driver_epoch) == (19_900_000_000, "driver reload", "97")


def test_the_scope_of_a_counter_is_measured_again_after_each_load_of_the_driver():
    a = account()
    a.info = replace(INFO, driver_epoch="41")
    measure = partial(feed, power_average_mw=300_000)  # with instant power of as much
    for t in range(61):
        measure(a, t, 300_000 * t)
    assert a.scope_and_basis == ("gpu", "measured")
    b = restored(a)
    b.info = replace(INFO, driver_epoch="41")
    measure(b, 61, 300_000 * 61)
    assert b.scope_and_basis == ("gpu", "measured")
    b.info = replace(INFO, driver_epoch="97")
    for t in range(62, 123):
        assert b.scope_and_basis == (("gpu", "measured") if t == 62 else ("unknown", ""))
        measure(b, t, 500_000 * t, module_power_mw=500_000)
    assert b.scope_and_basis == ("module", "measured")
    b.feed(sample(123 * 10**9, 500_000 * 123), "another boot")
    assert b.scope_and_basis == ("unknown", "")


@settings(deadline=None, max_examples=examples(100))
@given(
    st.lists(st.tuples(st.integers(1, 5_000), st.integers(0, 600_000), st.booleans()), min_size=1, max_size=15),
    st.integers(0, 14),
)
def test_a_restart_after_any_reading_changes_no_total(steps, cut):
    def run(restart_at):
        a, now, energy, recorded = account(), 0, 10**6, 0
        for i, (ms, mj, has_owner) in enumerate(steps):
            if i == restart_at:
                a = restored(a)
            a.owners = DeviceOwners(Holding({"w": 0} if has_owner else {}))
            now, energy = now + ms, energy + mj * ms // 1000
            entries, _ = a.feed(sample(now * 10**6, energy, power_mw=200_000), "boot")
            recorded += sum(e.energy_uj for e in entries)
        return recorded, a.meter

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


def test_a_fast_reading_keeps_the_rest_of_the_last_full_one():
    a = account()
    feed(a, 0, 1_000, sm_clock_mhz=1_500, temperature_c=50, gpu_percent=30)
    feed(a, 0.1, 31_000, fast=True)
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
    assert SENSOR_FOR(replace(INFO, power_limit_max_mw=None)).power_max_mw == gpu_max_mw()
    assert SENSOR_FOR(replace(INFO, architecture="Volta")).tick_ns < SENSOR_FOR(INFO).tick_ns


def mig_use(activity, *sizes):
    parts = zip(sizes, activity, strict=True)
    return tuple(MigUse(f"M{i}{size}", size, 7, 16 * size, active) for i, (size, active) in enumerate(parts))


def held_by_slices(*names, sizes):
    slices = {f"M{i}{size}": {name: 0} if name else {} for i, (size, name) in enumerate(zip(sizes, names, strict=True))}
    return DeviceOwners(Holding({name: 0 for name in names if name}, slices=slices))


def by_workload(entries):
    totals_uj = {}
    for entry in entries:
        totals_uj[entry.workload] = totals_uj.get(entry.workload, 0) + entry.energy_uj
    return totals_uj


def test_a_gpu_that_is_shared_is_booked_every_second_and_settled_when_its_use_is_measured():
    a, energy, total = account(), 1_000_000, {}
    a.owners = DeviceOwners(Holding({"a": 500_000, "b": 500_000}, measured=True))
    feed(a, 0, energy, processes=(), gpu_percent=90)
    assert a.policy == "sm_time"
    for second in range(1, 11):
        energy += 300_000
        listing = {"processes": ()} if second in (5, 10) else {}
        if listing:
            a.owners = DeviceOwners(Holding({"a": 3_000_000, "b": 1_000_000}, measured=True))
        entries, _ = feed(a, second, energy, gpu_percent=90, **listing)
        assert sum(e.energy_uj for e in entries) == 300_000_000  # at once, and whole
        for name, uj in by_workload(entries).items():
            total[name] = total.get(name, 0) + uj
    assert total == {"a": 2_250_000_000, "b": 750_000_000}  # 3 : 1 of all of it, that before the first measurement too


def test_mig_is_shared_by_activity_where_that_is_measured_and_survives_other_instances():
    a = account()
    a.owners = held_by_slices("a", "b", sizes=(3, 4))
    feed(a, 0, 0, processes=(), mig=mig_use((None, None), 3, 4))
    assert a.policy == "mig_slice"
    entries, _ = feed(a, 1, 370_000, mig=mig_use((1_000_000, 0), 3, 4))
    assert a.policy == "mig_activity"
    # A ninth of 700 W is taken for the resting power: four sevenths of it are all that the idle instance draws.
    assert by_workload(entries) == {"a": pytest.approx(325_555_000, abs=1_000), "b": pytest.approx(44_445_000, abs=1_000)}
    a.owners = held_by_slices("a", "", sizes=(1, 1))
    entries, _ = feed(a, 2, 740_000, processes=(), mig=mig_use((None, None), 1, 1))
    assert set(by_workload(entries)) == {"a", "b"}  # until now it was the old instances
    entries, _ = feed(a, 3, 1_110_000, mig=mig_use((500_000, 0), 1, 1))
    assert {e.workload for e in entries} == {"a", ""}
    assert sum(e.energy_uj for e in entries) == 370_000_000
    a.owners = DeviceOwners(Holding({"a": 0}))
    entries, _ = feed(a, 4, 1_480_000, processes=())
    feed(a, 5, 1_850_000)
    assert a.policy == "exclusive"


def test_the_resting_power_of_a_gpu_in_mig_mode_is_the_least_that_it_drew():
    a = account()
    a.owners = held_by_slices("a", "b", sizes=(3, 4))
    feed(a, 0, 0, processes=(), mig=mig_use((None, None), 3, 4))
    for second, energy_mj in (1, 370_000), (2, 405_000), (2.5, 405_001):  # 35 W for a second; half a second says nothing
        feed(a, second, energy_mj, mig=mig_use((0, 0), 3, 4))
    feed(a, 3, 450_000, processes=(), mig=mig_use((0, 0), 3, 4))
    entries, _ = feed(a, 4, 820_000, mig=mig_use((1_000_000, 0), 3, 4))
    # 35 W by slices, four sevenths of it to the idle instance; a ninth of the limit would be 77.8 W.
    assert by_workload(entries) == {"a": pytest.approx(350_000_000, abs=1_000), "b": pytest.approx(20_000_000, abs=1_000)}


def test_unallocated_gpu_in_mig_mode_is_unheld():
    a = account()
    a.owners = held_by_slices("", "", sizes=(3, 4))
    feed(a, 0, 0, processes=(), mig=mig_use((None, None), 3, 4))
    entries, _ = feed(a, 1, 70_000)
    assert [(e.state, e.energy_uj) for e in entries] == [(State.UNALLOCATED, 70_000_000)]
    assert a.policy == ""
