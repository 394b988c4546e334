"""The health of GPUs by real readers on a plant: it comes without being in anybody's way, and goes with what it is of."""

import time

import pytest

from energy_agent.core.health import GPM, GROUPS
from energy_agent.reader.health_retries import HealthHangs
from energy_agent.runtime.clock import clock_for
from tests.energy_agent.nodes import environ_of, make_plant, poll_until, sampling
from tests.energy_agent.reader.test_supervisor import first_sweeps, missed_periods, up

pytestmark = pytest.mark.timeout(360)

HEALTH = {"health_period_ns": 10 * 10**9, "health_groups": (GPM,)}
RATE = 5.0  # ten seconds of the plant are two of ours


def records(sampler, folder):
    return {(r.uuid, r.group): r for r in sampler.health(clock_for(environ_of(folder)).boot_ns())}


def values(record):
    return {} if record is None else {(r.quantity, *r.labels): r.value for r in record.readings}


def test_every_group_of_every_device_comes_and_what_happens_shows(tmp_path):
    with make_plant(tmp_path, rate=RATE) as plant, sampling(tmp_path, **HEALTH) as sampler:
        wanted, record_keys = {(plant.uuid(gpu), group) for gpu in range(4) for group in (*GROUPS, GPM)}, set()

        def all_came(_):
            record_keys.update(
                records(sampler, tmp_path)
            )  # a record lives for four seconds of ours: on a busy machine it may be gone
            return record_keys == wanted

        def errors(gpu):
            readings = values(records(sampler, tmp_path).get((plant.uuid(gpu), "ecc")))
            return readings.get(("ecc_volatile_errors", "uncorrected"))

        poll_until(sampler, all_came)
        poll_until(sampler, lambda _: errors(2) == 0)
        plant.fault(2, "ecc_uncorrected", value=7)
        poll_until(sampler, lambda _: errors(2) == 7)
        others = []
        poll_until(sampler, lambda _: others.append(errors(1)) or others[-1] is not None)
        assert others[-1] == 0


def test_hanging_health_call_costs_only_the_health_of_its_device(tmp_path):
    with make_plant(tmp_path) as plant, sampling(tmp_path, hang_s=0.6, **HEALTH) as sampler:
        sweeps, most = first_sweeps(sampler, 4)
        bad = plant.uuid(1)
        plant.fault(1, "hang", call="nvmlDeviceGetEccMode")
        sweeps += poll_until(sampler, lambda _: bad in sampler.health_hangs)
        sweeps += poll_until(sampler, lambda s: sum(len(x) for x in s) >= 12)
        sweeps += poll_until(sampler, up(sampler, 4))
        health_records = records(sampler, tmp_path)
        assert health_records[bad, ""].absent == {"health": "ecc_mode hangs in the driver"}
        for gpu in range(4):
            assert missed_periods(sweeps, plant.uuid(gpu)) <= most
        plant.clear(1)


def test_health_that_hung_comes_back_by_itself_when_the_device_answers_again(tmp_path):
    with make_plant(tmp_path) as plant, sampling(tmp_path, hang_s=0.6, **HEALTH) as sampler:
        sampler.health_hangs.first_s = 1.0
        bad, probers = plant.uuid(1), set()

        def tried(_):
            probe = sampler.health_hangs._probe
            probers.add(None if probe is None else probe._process.pid)
            return len(probers) > 2  # none, and two one after the other

        sweeps, most = first_sweeps(sampler, 4)
        plant.fault(1, "hang", call="nvmlDeviceGetEccMode")
        sweeps += poll_until(sampler, lambda _: bad in sampler.health_hangs)
        restarts = sampler.node.restarts_total
        sweeps += poll_until(sampler, tried)  # the probes fail, and the sampler sends the reader no request
        assert bad in sampler.health_hangs
        plant.clear(1)
        cleared_ns = clock_for(environ_of(tmp_path)).boot_ns()

        def again(_):
            record = records(sampler, tmp_path).get((bad, "ecc"))
            return record is not None and record.boot_ns > cleared_ns

        sweeps += poll_until(sampler, again)
        assert (bad, "") not in records(sampler, tmp_path)
        assert sampler.node.restarts_total == restarts, "a prober may hang, the reader may not"
        for gpu in range(4):
            assert missed_periods(sweeps, plant.uuid(gpu)) <= most


def test_repeatedly_hanging_device_is_queried_less_often():
    hangs = HealthHangs()
    backs_off = []
    for _ in range(9):
        hangs.add("GPU-a", "ecc_mode")
        assert list(hangs) == ["GPU-a"]
        backs_off.append(hangs._hangs["GPU-a"].back_off_s)
        hangs._hangs["GPU-a"].answered_s = time.monotonic()
        assert "GPU-a" not in hangs
    assert backs_off == [10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_health_goes_with_its_device_and_when_it_is_not_read_any_more(tmp_path):
    with make_plant(tmp_path, rate=RATE) as plant, sampling(tmp_path, **HEALTH) as sampler:
        lost, ecc = plant.uuid(3), (plant.uuid(0), "ecc")

        def comes(key):
            poll_until(sampler, lambda _: key in records(sampler, tmp_path))

        comes((lost, "ecc"))
        plant.fault(3, "lost")
        poll_until(sampler, lambda _: not sampler.devices[lost].up)
        assert not [key for key in records(sampler, tmp_path) if key[0] == lost]
        plant.clear(3)
        comes((lost, "ecc"))
        comes(ecc)
        ends_ns = records(sampler, tmp_path)[ecc].boot_ns + 2 * HEALTH["health_period_ns"]
        assert ecc in {(r.uuid, r.group) for r in sampler.health(ends_ns)}
        assert ecc not in {(r.uuid, r.group) for r in sampler.health(ends_ns + 1)}


def test_a_mig_change_is_followed_within_a_period_without_losing_a_reading(tmp_path):
    with make_plant(tmp_path, rate=RATE) as plant, sampling(tmp_path, **HEALTH) as sampler:
        uuid = plant.uuid(1)
        sweeps = poll_until(sampler, lambda _: (uuid, "mig") in records(sampler, tmp_path))
        restarts = sampler.node.restarts_total
        for instances in (2, 3, None):
            if instances is None:
                plant.clear(1, "mig")
            else:
                plant.fault(1, "mig", value=instances)

            def followed(_, instances=instances):
                record = records(sampler, tmp_path).get((uuid, "mig"))
                devices = [] if record is None else [r for r in record.readings if r.quantity == "mig_device"]
                return len(devices) == (instances or 0) and sampler.infos[uuid].mig_enabled == (instances is not None)

            sweeps += poll_until(sampler, followed)
        assert sampler.node.restarts_total == restarts
        assert sampler.devices[uuid].up
        seconds = [sample.t_ns for sweep in sweeps for sample in sweep if sample.uuid == uuid]
        assert len(seconds) == len(set(seconds)) >= len(sweeps) - 1


def test_without_a_period_nothing_is_read(tmp_path):
    with make_plant(tmp_path, rate=RATE), sampling(tmp_path) as sampler:
        poll_until(sampler, up(sampler, 4))
        end = time.monotonic() + 1.0
        poll_until(sampler, lambda _: time.monotonic() > end)
        assert sampler.health(0) == ()
