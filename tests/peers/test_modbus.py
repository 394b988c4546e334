"""Modbus against a real pymodbus server in a process of its own: every encoding, then killed, slowed, wrapped round and lying
in mid-run; and against what no server would answer.
"""

import contextlib
import json
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from energy_agent.core.energy import Method
from energy_agent.core.meters.reading import MeterError
from energy_agent.metering.node import advance
from energy_agent.runtime.clock import RealClock
from energy_agent.runtime.meter_poller import MeterPoller, MeterSchedule
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters.modbus import SPEC, Modbus
from tests.support import eventually, free_port, need_module

pytestmark = pytest.mark.peer

WH_UJ = 3_600_000_000
LAST = 2**32
METER = {"id": "main", "role": "total", "accuracy_percent": 1, "timeout_s": 0.5, "max_power_w": 1e9}
TYPES = {
    "uint16": ("UINT16", 60_000), "int16": ("INT16", 1234), "uint32": ("UINT32", 2**32 - 1), "int32": ("INT32", 2**31 - 1),
    "uint64": ("UINT64", 2**60 + 1), "int64": ("INT64", 2**60 + 3), "float32": ("FLOAT32", 1234.5), "float64": ("FLOAT64", 0.1),
}  # fmt: skip


class Server:
    """`modbus_server.py`, and what its registers hold."""

    def __init__(self):
        need_module("pymodbus")
        self.port = free_port()
        self.start()

    def start(self, **state):
        script = Path(__file__).with_name("modbus_server.py")
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([sys.executable, script, str(self.port)], text=True, **streams)
        assert self.process.stdout.readline() == "listening\n"
        self.tell(**state)

    def tell(self, **change):
        """Change it; returns when it holds."""
        self.process.stdin.write(json.dumps(change) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ok\n"

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()


@pytest.fixture
def server():
    modbus_server = Server()
    yield modbus_server
    modbus_server.stop()


def meter(server, timeout_s=30, **section):
    config = MeterConfig(**METER | {"timeout_s": timeout_s})
    return SPEC.open(Modbus(host="127.0.0.1", port=server.port, **section), config, RealClock())


def float32(value):
    return list(struct.unpack(">HH", struct.pack(">f", value)))


def uint32(value):
    return [value >> 16, value & 0xFFFF]


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("kind", TYPES)
def test_a_number_is_read_as_the_library_writes_it(server, kind, order):
    from pymodbus.client import ModbusTcpClient

    name, value = TYPES[kind]
    words = ModbusTcpClient.convert_to_registers(value, getattr(ModbusTcpClient.DATATYPE, name), word_order=order)
    server.tell(input=[[700, words]])
    reader = meter(server, energy={"address": 700, "table": "input", "type": kind, "word_order": order, "unit": "J"})
    (reading,) = reader.read()
    reader.close()
    assert (reading.energy_uj, reading.power_mw) == (int(value * 10**6), None)


def test_registers_that_lie_near_are_read_at_once_and_one_by_one_where_there_is_nothing_between(server):
    server.tell(holding=[[10, uint32(5)], [70, float32(2.5)]])
    reader = meter(server, energy={"address": 10, "type": "uint32"}, power={"address": 70, "type": "float32", "unit": "kW"})

    def both():
        (reading,) = reader.read()
        return reading.energy_uj, reading.power_mw

    assert both() == (5 * 1000 * WH_UJ, 2_500_000)
    server.tell(holes=[40])
    assert both() == (5 * 1000 * WH_UJ, 2_500_000)
    server.tell(holes=[40, 70])
    with pytest.raises(MeterError, match="holding registers 70 to 71: illegal data address"):
        reader.read()
    reader.close()


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"raw": "TTTT0000"}, "incomplete response: 4 bytes"),
        ({"raw": "TTTT00000007UU030400"}, "incomplete response: 10 of 13 bytes"),
        ({"raw": "TTTT00000007UU030400", "then": "close"}, "incomplete response: 10 of 13 bytes"),
        ({"raw": "TTTT00000005UU03020001"}, "incomplete response: 1 of 2 registers"),
        ({"raw": "TTTT00000006UU0303000001"}, "incomplete response|invalid response"),
        ({"raw": "TTTT00000007UU03ff00000001"}, "invalid response"),
        ({"raw": "ffff00000007UU030400000001"}, "another request: expected transaction 1, got 65535"),
        ({"raw": "TTTT00000007UU040400000001"}, "function 3, got function 4"),
        ({"raw": "TTTT0000000777030400000001"}, "a response from another unit: 119"),
        ({"raw": "TTTT00000003UU8306"}, r"device busy \(code 6\)"),
        ({"raw": "485454502f312e3120343030"}, "is not Modbus"),
        ({"raw": "00" * 10_000}, "without a response|another request"),
        ({"raw": "", "then": "close"}, "closed the connection without a response"),
        ({"raw": "TTTT00000007UU0304" + "00" * 40, "drip_s": 0.2}, "incomplete response"),  # a byte within every timeout
    ],
)
def test_what_no_server_would_answer_is_one_reason_and_the_next_poll_connects_anew(server, lie, reason):
    server.tell(holding=[[10, uint32(5)]], **lie)
    reader = meter(server, timeout_s=2, energy={"address": 10, "type": "uint32"})
    with pytest.raises(MeterError, match=reason) as error:
        reader.read()
    assert "\n" not in str(error.value)
    server.tell(raw=None)
    assert reader.read()[0].energy_uj == 5 * 1000 * WH_UJ
    reader.close()


class Run:
    """A poller on a server whose register counts Wh, and the energy recorded from its readings."""

    def __init__(self, server, poller, start_wh):
        self.server, self.poller, self.wh = server, poller, start_wh
        self.readings = []
        self.count(0)

    def count(self, wh):
        """Let energy flow, and the register with it."""
        self.wh += wh
        self.server.tell(**self.registers)

    @property
    def registers(self):
        return {"holding": [[100, uint32(self.wh % LAST)], [102, float32(500.0)]]}

    def wait_for_reading(self):
        """Wait until a reading shows the register's value."""

        def look():
            for name, rows in self.poller.drain():
                assert name == "main"
                self.readings += rows
            return self.readings and self.readings[-1].energy_uj == self.wh % LAST * WH_UJ

        eventually(look, 40)

    def up(self, wanted=True, reason=""):
        def look():
            (health,) = self.poller.health({})
            return health if health.up is wanted and reason in health.reason else None

        return eventually(look, 40)

    def recorded(self):
        """(energy in uJ, methods, gaps) between the first reading and the last."""
        state, total_uj, methods, gaps = None, 0, set(), []
        for reading in self.readings:
            step = advance(state, reading, "boot", 3 * 10**9)
            state = step.state
            if step.interval is not None:
                total_uj += step.interval.energy_uj
                methods.add(step.interval.method)
            if step.gap is not None:
                gaps.append(step.gap.reason)
        return total_uj, methods, gaps


@pytest.fixture
def run(server):
    section = Modbus(
        host="127.0.0.1",
        port=server.port,
        energy={"address": 100, "type": "uint32", "unit": "Wh"},
        power={"address": 102, "type": "float32"},
    )
    poller = MeterPoller(
        RealClock(), "meter", [MeterSchedule("main", 0.1, lambda: SPEC.open(section, MeterConfig(**METER), RealClock()))]
    )
    meter_run = Run(server, poller, LAST - 1_000)
    poller.start()
    yield meter_run
    poller.stop()


def test_every_watt_hour_is_booked_once_over_a_wrap_a_kill_and_slowness(run, server):
    run.wait_for_reading()
    start_wh = run.wh
    for wh in (400, 599, 1, 17, 83):  # to the last number, to 0, and on
        run.count(wh)
        run.wait_for_reading()
    assert run.wh % LAST == 100
    server.process.send_signal(signal.SIGSTOP)
    run.up(False, "in time")
    server.process.send_signal(signal.SIGCONT)
    run.up()
    run.count(11)
    run.wait_for_reading()
    server.tell(late_s=2.0)  # answers, but after the timeout
    run.up(False, "no response in time")
    server.tell(late_s=0.0)
    run.up()
    run.count(7)
    run.wait_for_reading()
    server.stop()
    run.up(False, "refused")
    run.wh += 1_234  # the meter counts on while nobody can ask it
    server.start(**run.registers)
    run.up()
    run.wait_for_reading()
    total_uj, methods, gaps = run.recorded()
    assert total_uj == (run.wh - start_wh) * WH_UJ
    assert (methods <= {Method.COUNTER, Method.BRIDGED}, gaps) == (True, [])


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        ({"holding": [[102, float32(float("nan"))]]}, "implausible reading: power NaN"),
        ({"holding": [[102, float32(float("-inf"))]]}, "implausible reading: power -Infinity"),
        ({"holding": [[102, float32(2e9)]]}, "the maximum of 1e+09 W"),
        ({"exception": 4}, "device failure (code 4)"),
    ],
)
def test_a_lie_is_refused_and_the_register_bridges_it(run, server, lie, reason):
    run.wait_for_reading()
    start_wh = run.wh
    server.tell(**lie)
    run.up(False, reason)
    run.wh += 300
    server.tell(**run.registers, exception=0)
    run.up()
    run.wait_for_reading()
    assert run.recorded()[::2] == ((run.wh - start_wh) * WH_UJ, [])


def test_a_power_that_flows_the_other_way_leaves_the_register_alone(run, server):
    run.wait_for_reading()
    run.wh += 25
    server.tell(holding=[[100, uint32(run.wh % LAST)], [102, float32(-500.0)]])
    run.wait_for_reading()
    assert run.readings[-1].power_mw is None
    total_uj, _, gaps = run.recorded()
    assert (total_uj, gaps) == (25 * WH_UJ, [])
    run.up()


def test_a_register_that_jumps_is_a_gap_each_way(run, server):
    run.wait_for_reading()
    start_wh, true_wh = run.wh, run.wh + 50
    run.count(LAST // 2)
    run.wait_for_reading()
    run.wh = true_wh
    run.count(0)
    run.wait_for_reading()
    run.count(25)
    run.wait_for_reading()
    total_uj, _, gaps = run.recorded()
    assert gaps == ["counter fell", "impossible counter difference"]
    assert total_uj == (run.wh - true_wh) * WH_UJ
    assert run.wh - start_wh == 75


def test_a_short_frame_in_mid_run_is_a_reason_until_it_ends(run, server):
    run.wait_for_reading()
    start_wh = run.wh
    server.tell(raw="TTTT0000000bUU0308")
    server.process.send_signal(signal.SIGSTOP)  # so that the open connection, to the real server, ends
    run.up(False, "in time")
    server.process.send_signal(signal.SIGCONT)
    run.up(False, "incomplete response: 9 of 17 bytes")
    run.wh += 5
    server.tell(raw=None, **run.registers)
    run.up()
    run.wait_for_reading()
    assert run.recorded()[::2] == ((run.wh - start_wh) * WH_UJ, [])
