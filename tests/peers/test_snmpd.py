"""SNMP meters against Debian's snmpd, which serves the registers of an APC, a Raritan and an Eaton PDU and of a UPS: by v2c and
v3, killed, slowed, wrapped round and lying in mid-run.
"""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from energy_agent.core.energy import Method
from energy_agent.core.meters.reading import MeterError
from energy_agent.core.units import UJ_PER_KWH
from energy_agent.metering.node import advance
from energy_agent.runtime.clock import RealClock
from energy_agent.runtime.meter_poller import MeterPoller, MeterSchedule
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.meters.snmp import SPEC, Snmp
from tests.peers.meters import read_more, up
from tests.support import eventually, free_port, need_module, need_program

pytestmark = pytest.mark.peer

APC = ("1.3.6.1.4.1.318.1.1.26.4.3.1.9.1", "1.3.6.1.4.1.318.1.1.26.4.3.1.5.1")
EATON = ("1.3.6.1.4.1.534.6.6.7.3.5.1.5.0.1", "1.3.6.1.4.1.534.6.6.7.3.5.1.4.0.1")
UPS = [f"1.3.6.1.2.1.33.1.4.4.1.4.{line}" for line in (1, 2, 3)]
RARITAN_MEASURED, RARITAN_CONFIGURED = "1.3.6.1.4.1.13742.6.5.2.3.1", "1.3.6.1.4.1.13742.6.3.3.4.1"
WH, KWH_TENTH = UJ_PER_KWH // 1000, UJ_PER_KWH // 10
METER = MeterConfig(
    id="pdu-1", role="it", position="pdu_output", accuracy_percent=1, max_power_w=20_000, period_s=1, timeout_s=1
)  # fmt: skip

PASS = """
import json, sys
while line := sys.stdin.readline().strip():
    if line == "PING":
        print("PONG", flush=True)
        continue
    oid = sys.stdin.readline().strip().lstrip(".")
    with open(sys.argv[1]) as file:
        row = json.load(file).get(oid) if line == "get" else None
    print("NONE" if row is None else "\\n".join(("." + oid, *row)), flush=True)
"""


class Snmpd:
    """`snmpd` with its own configuration; its `pass_persist` child reads every value from a file on request."""

    def __init__(self, folder):
        need_module("pysnmp")
        self.program, self.folder, self.port = need_program("snmpd"), folder, free_port()
        self.rows = {}
        for name, text in (
            ("community", "s3cret-community"),
            ("user", "meter"),
            ("auth", "auth-passphrase"),
            ("priv", "priv-passphrase"),
        ):
            (folder / name).write_text(f"{text}\n")
        (folder / "pass.py").write_text(PASS)
        users = ['createUser meter SHA-256 "auth-passphrase" AES "priv-passphrase"\nrouser meter priv',
                 'createUser sha1 SHA "auth-passphrase" AES-256 "priv-passphrase"\nrouser sha1 priv',
                 'createUser plain SHA-512 "auth-passphrase"\nrouser plain auth']  # fmt: skip
        answered = (".1.3.6.1.4.1.318", ".1.3.6.1.4.1.534", ".1.3.6.1.4.1.13742", ".1.3.6.1.2.1.33")
        passes = [f"pass_persist {root} {sys.executable} {folder / 'pass.py'} {folder / 'values.json'}" for root in answered]
        lines = [f"agentAddress udp:127.0.0.1:{self.port}", "rocommunity s3cret-community 127.0.0.1", *users, *passes]
        (folder / "snmpd.conf").write_text("\n".join(lines) + "\n")
        self.serve({})
        self.start()

    def serve(self, rows):
        """Change values, in one step: OID -> (type, text) or None."""
        self.rows = {oid: row for oid, row in (self.rows | rows).items() if row is not None}
        new = self.folder / "new"
        new.write_text(json.dumps(self.rows))
        new.rename(self.folder / "values.json")

    def start(self):
        state = str(self.folder / "state")
        env = os.environ | {
            "SNMP_PERSISTENT_DIR": state,
            "SNMPCONFPATH": str(self.folder),
            "MIBS": "",
            "TMPDIR": str(self.folder),
        }
        command = [
            self.program,
            "-I",
            "-smux",
            "-f",
            "-Lf",
            str(self.folder / "log"),
            "-C",
            "-c",
            str(self.folder / "snmpd.conf"),
        ]
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def section(self, version="2c", **more):
        v2c = {"community_file": self.folder / "community"}
        v3 = {"user_file": self.folder / "user", "auth_key_file": self.folder / "auth", "priv_key_file": self.folder / "priv"}
        secrets = v2c if version == "2c" else v3
        return Snmp(**{"host": "127.0.0.1", "port": self.port, "version": version, "profile": "apc-rpdu2"} | secrets | more)


@pytest.fixture
def snmpd(tmp_path):
    snmp_agent = Snmpd(tmp_path)
    snmp_agent.serve({APC[0]: ("integer", "170982"), APC[1]: ("integer", "185")})
    yield snmp_agent
    snmp_agent.stop()


def read(snmpd, **more):
    """One reading, as soon as the agent listens."""
    source = SPEC.open(snmpd.section(**more), METER, RealClock())

    def look():
        try:
            return source.read()[0]
        except MeterError as error:
            if "does not respond" in str(error):
                return None
            raise

    with contextlib.closing(source):
        return eventually(look)


@contextlib.contextmanager
def polling(section, meter=METER):
    """A poller as `wattlens site` runs one."""
    clock = RealClock()
    poller = MeterPoller(clock, "meter", [MeterSchedule(meter.id, meter.period_s, lambda: SPEC.open(section, meter, clock))])
    poller.start()
    try:
        yield poller
    finally:
        poller.stop()


@pytest.mark.parametrize("version", ["2c", "3"])
def test_an_apc_pdu_counts_in_tenths_of_kwh(snmpd, version):
    reading = read(snmpd, version=version)
    assert (reading.energy_uj, reading.step_uj, reading.power_mw) == (170_982 * KWH_TENTH, KWH_TENTH, 1_850_000)


def test_raritan_inlet_applies_its_decimal_digits(snmpd):
    for kind, unit, value, digits in ((8, 5, 987_654_321, 0), (5, 3, 54_321, 1)):
        rows = {f"{RARITAN_MEASURED}.4": ("gauge", value), f"{RARITAN_MEASURED}.2": ("integer", 1),
                f"{RARITAN_CONFIGURED}.6": ("integer", unit), f"{RARITAN_CONFIGURED}.7": ("gauge", digits),
                f"{RARITAN_CONFIGURED}.9": ("gauge", 1)}  # fmt: skip
        snmpd.serve({f"{column}.1.1.{kind}": (how, str(row)) for column, (how, row) in rows.items()})
    reading = read(snmpd, profile="raritan-px-inlet")
    assert (reading.energy_uj, reading.step_uj, reading.wrap_uj) == (987_654_321 * WH, WH, (1 << 32) * WH)
    assert (reading.power_mw, reading.step_mw) == (5_432_100, 100)


def test_an_eaton_pdu_and_a_ups_of_three_lines(snmpd):
    snmpd.serve({EATON[0]: ("gauge", "4294967295"), EATON[1]: ("integer", "2500")})
    reading = read(snmpd, profile="eaton-epdu", version="3")
    assert (reading.energy_uj, reading.wrap_uj, reading.power_mw) == (4_294_967_295 * WH, (1 << 32) * WH, 2_500_000)
    snmpd.serve({oid: ("integer", str(1000 + line)) for line, oid in enumerate(UPS)})
    assert read(snmpd, profile="ups-output", index={"line": [1, 2, 3]}).power_mw == 3_003_000


def test_every_snmp_login_works_and_a_refusal_states_its_reason(snmpd, tmp_path):
    read(snmpd)
    (tmp_path / "sha1").write_text("sha1\n")
    (tmp_path / "plain").write_text("plain\n")
    assert read(snmpd, version="3", user_file=tmp_path / "sha1", auth="SHA", privacy="AES-256").power_mw == 1_850_000
    plain = {"user_file": tmp_path / "plain", "auth": "SHA-512", "privacy": "none", "priv_key_file": None}
    assert read(snmpd, version="3", **plain).power_mw == 1_850_000
    for wrong, reason in (
        ({"user_file": tmp_path / "community"}, "does not know this user"),
        ({"auth_key_file": tmp_path / "priv"}, "rejects the key in auth_key_file"),
        ({"auth": "SHA"}, "rejects the key in auth_key_file"),
        ({"privacy": "none", "priv_key_file": None}, "does not allow this user to read"),
        ({"priv_key_file": tmp_path / "auth"}, "a wrong priv_key_file has the same symptom"),
    ):
        patient = METER.model_copy(update={"timeout_s": 20})
        source = SPEC.open(snmpd.section("3", **wrong), patient, RealClock())
        with contextlib.closing(source), pytest.raises(MeterError, match=reason) as error:
            source.read()
        assert "passphrase" not in str(error.value)


@pytest.mark.parametrize("version", ["2c", "3"])
def test_killed_slowed_and_lying_in_mid_run(snmpd, version):
    readings, true = [], {APC[0]: ("integer", "170982"), APC[1]: ("integer", "185")}
    lies = [
        (APC[1], ("integer", "2001"), "implausible reading: 20010 W"),
        (APC[1], None, "NoSuchInstance"),
        (APC[1], ("integer", "-5"), "rPDU2DeviceStatusPower is -5"),
        (APC[1], ("integer", "-1"), "does not measure power"),
        (APC[1], ("string", "185"), "expected a whole number, got OctetString"),
        (APC[0], ("objectid", ".1.3.6.1"), "expected a whole number, got ObjectIdentifier"),
        (APC[0], ("timeticks", "170982"), "expected a whole number, got TimeTicks"),
        (APC[0], ("ipaddress", "10.0.0.1"), "expected a whole number, got IpAddress"),
    ]
    with polling(snmpd.section(version)) as poller:
        more = functools.partial(read_more, poller, readings)

        up(poller)
        more(2)
        snmpd.process.send_signal(signal.SIGSTOP)
        up(poller, False, "does not respond within 1 s")
        snmpd.process.send_signal(signal.SIGCONT)
        up(poller)
        more(2)
        for oid, row, reason in lies if version == "2c" else lies[:2]:
            snmpd.serve({oid: row})
            up(poller, False, reason)
            snmpd.serve(true)
            up(poller)
        more(2)
        snmpd.stop()
        up(poller, False, "does not respond within 1 s")
        time.sleep(1.5)  # nothing is read meanwhile, and nothing made up
        readings.extend(poller.drain())
        count_before = len(readings)
        assert not poller.drain()
        snmpd.start()  # with v3 it has another boot count, and its clock restarts
        up(poller, seconds=40)
        more(2)
    assert len(readings) > count_before
    for _, rows in readings:  # whatever happened: each is one that was served as true
        assert [(row.energy_uj, row.power_mw) for row in rows] == [(170_982 * KWH_TENTH, 1_850_000)]


def test_a_register_of_32_bits_passes_its_end_and_a_jump_is_seen(snmpd):
    """The 32-bit register wraps between readings: the recorded energy equals the served energy, to the microjoule."""
    end = 1 << 32
    snmpd.serve({EATON[0]: ("gauge", str(end - 5)), EATON[1]: ("integer", "9000")})
    readings = []
    meter = METER.model_copy(update={"max_power_w": 50_000_000})  # Wh within a second are MW
    with polling(snmpd.section(profile="eaton-epdu"), meter) as poller:

        def until(count):
            eventually(lambda: readings.extend(poller.drain()) or (readings and readings[-1][1][0].energy_uj == count * WH), 30)

        until(end - 5)
        for count in (end - 1, 3, 1_000):
            snmpd.serve({EATON[0]: ("gauge", str(count))})
            until(count)
        snmpd.serve({EATON[0]: ("gauge", str(end // 2))})  # 2 TWh within a second
        until(end // 2)
    state, booked, gaps = None, [], []
    for _, rows in readings:
        step = advance(state, rows[0], "boot", 60 * 10**9)
        state = step.state
        booked += [step.interval] if step.interval else []
        gaps += [step.gap] if step.gap else []
    assert all(stretch.method is Method.COUNTER for stretch in booked)
    assert sum(stretch.energy_uj for stretch in booked) == (5 + 1_000) * WH
    assert len(gaps) == 1
