"""A simulated node in a building: its meters over real Modbus TCP, by pymodbus's client, against the truth."""

import socket
import struct
from contextlib import contextmanager

import pytest
import yaml

from energy_agent.runtime.clock import SimulatedClock
from energy_agent.sim import scenario
from energy_agent.sim.building import site
from energy_agent.sim.building.site import LATE_S
from energy_agent.sim.host import power as host_power
from energy_agent.sim.node import SimulatedNode
from energy_agent.sim.scenario_model import HostModel
from energy_agent.site.config.site import source_specs
from tests.support import eventually, need_module, refusal
from wattlens.site.file import parse_site

S = 10**9
WH_UJ = 3_600_000_000
WRAP = 1 << 32
NODE = """
boards: [{count: 2, sku: H100-SXM5-80GB}]
rate: 10
workloads: [{name: load, kind: burst, gpus: [0, 1], memory_gb: 1, on_s: 3, off_s: 3}]
facility:
  other_it_w: 0
  it_scale: 7
  pdu_weights: [2, 1]
  pv_peak_w: 4000
  starts_at: 2026-06-21T12:00:00
  meters:
    main: {start_wh: 4294967290, accuracy_percent: 2}
    ups-loss: {absent: true}
    ups: {start_wh: 0, energy_step_wh: 10, power_step_w: 100, refresh_s: 3}
    pdu-a: {start_wh: 0}
    it-a: {start_wh: 0}
    pdu-b: {start_wh: 0}
    it-b: {start_wh: 0}
    cooling: {start_wh: 0, gain: 1.25, accuracy_percent: 20}
    lighting: {start_wh: 0}
    pv: {start_wh: 0}
"""
IDS = ["main", "ups", "pdu-a", "it-a", "pdu-b", "it-b", "cooling", "lighting", "pv"]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    need_module("pymodbus")
    with SimulatedNode.start(scenario.parse(NODE.encode(), "test"), tmp_path_factory.mktemp("facility") / "node") as running:
        yield running


@pytest.fixture(autouse=True)
def _no_fault_stays(request):
    yield
    if "node" in request.fixturenames:
        running = request.getfixturevalue("node")
        for meter in IDS:
            site.clear(running, meter)


def facts(node, meter):
    return next(m for m in site.meters(node) if m["id"] == meter)


@contextmanager
def connected(node, timeout_s=60.0):
    from pymodbus.client import ModbusTcpClient

    about = node.state()["facility"]
    client = ModbusTcpClient(about["host"], port=about["port"], timeout=timeout_s, retries=0)
    assert client.connect()
    try:
        yield client
    finally:
        client.close()


def ask(node, meter, table="holding", timeout_s=60.0):
    """(count, power, energy in Wh, power in W) of a meter, as its registers have them."""
    with connected(node, timeout_s) as client:
        read = client.read_holding_registers if table == "holding" else client.read_input_registers
        answer = read(0, count=10, device_id=facts(node, meter)["unit"])
    assert not answer.isError(), answer
    return struct.unpack(">IIQf", struct.pack(">10H", *answer.registers))


def now_ns(node):
    with node.plant() as plant:
        return plant.now_ns()


def truth_after(node, t_ns):
    """A truth of the building that is later."""
    return eventually(lambda: (t := site.truth(node)).t_ns > t_ns and t)


def bracket(node, meter, read):
    """Return the result of `read`, and bounds of the meter's true energy at the tick of that result."""
    low = site.truth(node)
    eventually(lambda: now_ns(node) > low.t_ns + (facts(node, meter)["refresh_s"] + LATE_S) * S)
    result = read()
    high = truth_after(node, now_ns(node))
    return result, low.facility.energy_uj.at(meter), high.facility.energy_uj.at(meter)


def test_modbus_source_reads_the_meters_that_the_node_describes(node):
    assert [(m["id"], m["unit"]) for m in site.meters(node)] == [(meter, n) for n, meter in enumerate(IDS, 1)]
    assert facts(node, "pdu-b") | {"max_power_w": 0} == {
        "id": "pdu-b", "role": "it", "position": "pdu_output", "parent": "ups", "unit": 5, "accuracy_percent": 1.0,
        "registers": {"energy": 0, "power": 2, "energy_wh": 4, "power_w": 8}, "energy_step_wh": 1, "power_step_w": 1,
        "refresh_s": 1.0, "max_power_w": 0,
    }  # fmt: skip
    truth = site.truth(node).facility.power_mw
    assert all(0 <= truth.at(m["id"]) / 1000 < m["max_power_w"] for m in site.meters(node))
    config = parse_site(yaml.safe_dump(site.site_config(node)).encode())
    parents = [None, "main", "ups", "pdu-a", "ups", "pdu-b", "main", "main", "main"]
    assert [(m.id, m.parent) for m in config.all_meters] == list(zip(IDS, parents, strict=True))
    ups = config.all_meters[1]
    meter = source_specs()["modbus"].open(ups.modbus, ups, SimulatedClock(node.plant_path))
    try:
        ((reading,), low_uj, high_uj) = bracket(node, "ups", meter.read)
    finally:
        meter.close()
    gain = site.truth(node).gains_ppb["ups"] / 1e9
    assert gain * low_uj - 10 * WH_UJ < reading.energy_uj <= gain * high_uj
    assert (reading.step_uj, reading.wrap_uj, reading.step_mw) == (10 * WH_UJ, 10 * WH_UJ * WRAP, 100_000)
    assert reading.age_ns >= (3 + LATE_S) * S


def test_a_meter_shows_its_gain_times_the_truth(node):
    for meter in IDS:
        start_wh = WRAP - 6 if meter == "main" else 0
        (count, power, energy_wh, power_w), low_uj, high_uj = bracket(node, meter, lambda meter=meter: ask(node, meter))
        about, gain = facts(node, meter), site.truth(node).gains_ppb[meter] / 1e9
        least_wh, most_wh = (start_wh + gain * uj / WH_UJ for uj in (low_uj, high_uj))
        assert least_wh - about["energy_step_wh"] < energy_wh <= most_wh, meter
        assert energy_wh % about["energy_step_wh"] == 0
        assert count == energy_wh // about["energy_step_wh"] % WRAP
        assert power_w == power * about["power_step_w"]
        assert meter != "lighting" or abs(power_w - 150 * gain) <= 0.5  # the one whose power is constant
        assert meter != "cooling" or gain == 1.25
    eventually(lambda: ask(node, "main")[0] < 10_000)  # it wraps at 32 bits
    count, _, energy_wh, _ = ask(node, "main", table="input")
    assert energy_wh == count + WRAP


def test_the_building_takes_what_the_plant_gives(node):
    def plant_truths():
        with node.plant() as plant:
            return [plant.truth(gpu) for gpu in range(plant.count)]

    def looked():
        before = plant_truths()
        truth = truth_after(node, max(t.t_ns for t in before))
        return before, truth.facility, plant_truths()

    first = looked()
    eventually(lambda: now_ns(node) > first[2][0].t_ns + 10 * S)

    def looked_long_after():
        second = looked()
        most, least = host_power.of(HostModel(), second[2], first[0]), host_power.of(HostModel(), second[0], first[2])
        return (second, most, least) if most.node_uj < 3 * least.node_uj else None  # on a busy machine a look takes long

    second, most, least = eventually(looked_long_after)
    taken_uj = second[1].node_uj - first[1].node_uj
    later_uj = max(10_000, (second[2][0].t_ns - first[0][0].t_ns) // 10**6)  # what is handed on later: 1 mW
    assert 0 < least.node_uj - later_uj <= taken_uj <= most.node_uj + later_uj
    for building in (first[1], second[1]):
        assert 0 <= 7 * building.node_uj - building.energy_uj.it_input <= 9
        flows = building.energy_uj
        parts = [*flows.it, *flows.cable_loss, *flows.pdu_loss, flows.ups_loss, flows.cooling, flows.lighting]
        assert flows.total == sum(parts)


def test_a_meter_that_is_offline_or_slow_is_silent_and_the_others_are_not(node):
    from pymodbus.exceptions import ModbusIOException

    for meter, kind, value in (("pdu-a", "offline", 0), ("ups", "slow", 1500)):
        site.fault(node, meter, kind, value)
        with pytest.raises(ModbusIOException):
            ask(node, meter, timeout_s=0.3)
        assert ask(node, "pdu-b")[2] >= 0
        site.clear(node, meter)
        assert ask(node, meter)[2] >= 0
    site.fault(node, "pdu-a", "offline", 1)
    with connected(node) as client:
        assert client.read_holding_registers(0, count=2, device_id=3).exception_code == 11
    site.clear(node, "pdu-a", "offline")
    assert ask(node, "pdu-a")[2] >= 0


def request(transaction, unit):
    return struct.pack(">HHHBBHH", transaction, 0, 6, unit, 3, 0, 10)


def test_answers_that_come_late_still_belong_to_their_requests(node):
    about = node.state()["facility"]
    site.fault(node, "ups", "slow", 400)
    with socket.create_connection((about["host"], about["port"]), timeout=60) as line:
        line.sendall(request(7, 2) + request(8, 8) + request(9, 2))  # ups, lighting, ups: in one segment
        heard = b""
        while len(heard) < 3 * 29:
            heard += line.recv(4096)
        assert [struct.unpack(">HHHB", heard[at : at + 7]) for at in (0, 29, 58)] == [
            (7, 0, 23, 2), (8, 0, 23, 8), (9, 0, 23, 2)]  # fmt: skip
    assert struct.unpack(">I", heard[29 + 13 : 29 + 17])[0] == pytest.approx(150, abs=3)  # the lights'


def test_what_is_not_there(node):
    with connected(node) as client:
        assert client.read_holding_registers(0, count=2, device_id=99).exception_code == 11
        assert client.read_holding_registers(9, count=2, device_id=1).exception_code == 2
        assert client.write_register(0, 1, device_id=1).isError()
    assert "'main'" in refusal(site.fault, node, "mian", "offline")
    assert "'lost'" in refusal(site.fault, node, "main", "lost")


@pytest.mark.smoke
def test_the_timeline_of_faults(tmp_path):
    need_module("pymodbus")
    stuck = [{"at_s": 5 + 100 * n, "meter": "ups", "kind": "stuck", "for_s": 50} for n in range(6)]
    text = yaml.safe_dump({"boards": [{"count": 1, "sku": "A40"}], "rate": 10, "facility": {"faults": stuck}})
    with SimulatedNode.start(scenario.parse(text.encode(), "test"), tmp_path / "node") as running:

        def is_stuck():
            return [(f.meter, f.kind) for f in site.faults(running)] == [("ups", "stuck")]

        def shown_twice():  # within one fault: a busy machine may ask the second time after its end
            return is_stuck() and (values := (ask(running, "ups"), ask(running, "ups"))) and is_stuck() and values

        first, second = eventually(shown_twice)
        assert first == second
        eventually(lambda: site.faults(running) == [])
        eventually(lambda: ask(running, "ups") != first)
        site.fault(running, "main", "jump", 1_000_000)
        before = eventually(lambda: (values := ask(running, "main")[2]) >= 1_000_000 and values)
        site.fault(running, "main", "reset")
        assert ask(running, "main")[2] < before
    last = site.truth(running)  # files stay for a look
    assert last.facility.energy_uj.total > 0
