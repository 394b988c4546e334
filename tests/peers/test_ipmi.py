"""IPMI over the network against OpenIPMI's simulator, through the real ipmitool: read, slowed, lying, killed in mid-run.

The simulator has no DCMI; `dcmi_module.c`, which it loads, answers the one request.
"""

import functools
import signal
import socket
import subprocess
import time

import pytest

from energy_agent.config.node_meters import Ipmi, NodeMeters
from tests.peers.meters import check_constant_power, polling, read_more, up
from tests.support import need_program

pytestmark = pytest.mark.peer

LAN = """name "bmc"
{library}
set_working_mc 0x20
startlan 1
  addr 127.0.0.1 {port}
  priv_limit admin
  allowed_auths_callback none md2 md5 straight
  allowed_auths_user none md2 md5 straight
  allowed_auths_operator none md2 md5 straight
  allowed_auths_admin none md2 md5 straight
  guid a123456789abcdefa123456789abcdef
endlan
user 2 true "monitor" "secret" admin 10 none md2 md5 straight
"""
COMMANDS = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n"


class Simulator:
    """ipmi_sim in a folder."""

    def __init__(self, folder, dcmi=True):
        self.program, self.folder = need_program("ipmi_sim"), folder
        need_program("ipmitool")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        library = ""
        if dcmi:
            source = __file__.replace("test_ipmi.py", "dcmi_module.c")
            subprocess.run([need_program("cc"), "-shared", "-fPIC", "-o", str(folder / "dcmi.so"), source], check=True)
            library = f'loadlib "{folder}/dcmi.so" "{folder}/watts"'
        (folder / "state").mkdir()
        (folder / "lan.conf").write_text(LAN.format(library=library, port=self.port))
        (folder / "commands").write_text(COMMANDS)
        for name, text in (("watts", "612"), ("user", "monitor"), ("password", "secret"), ("wrong", "geheim")):
            (folder / name).write_text(text + "\n")
        self.start()

    def start(self):
        command = [self.program, "-c", "lan.conf", "-f", "commands", "-s", "state", "-n"]
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        self.process = subprocess.Popen(command, cwd=self.folder, **streams)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def config(self, password="password"):
        section = Ipmi(
            interface="lanplus", host="127.0.0.1", port=self.port, user_file=self.folder / "user",
            password_file=self.folder / password, cipher_suite=3, privilege="ADMINISTRATOR", period_s=1, timeout_s=2,
            max_power_w=3000,
        )  # fmt: skip
        return NodeMeters(sysfs=self.folder / "sys", ipmi=section)


@pytest.fixture
def simulator(tmp_path):
    bmc = Simulator(tmp_path)
    yield bmc
    bmc.stop()


def test_killed_slowed_and_lying_in_mid_run(simulator):
    readings = []
    with polling(simulator.config()) as poller:
        more = functools.partial(read_more, poller, readings)

        up(poller)
        more(3)
        simulator.process.send_signal(signal.SIGSTOP)
        up(poller, False)
        simulator.process.send_signal(signal.SIGCONT)
        up(poller)
        more(2)
        (simulator.folder / "watts").write_text("0")
        up(poller, False, "implausible reading: 0 W")
        (simulator.folder / "watts").write_text("60000")
        up(poller, False, "implausible reading: 60000 W")
        (simulator.folder / "watts").write_text("612")
        up(poller)
        more(2)
        simulator.stop()
        up(poller, False)
        simulator.start()
        up(poller, seconds=40)
        more(3)
    entries, gaps = check_constant_power(readings, "ipmi", 612)
    assert len(gaps) >= 2
    assert all(g.bound_uj >= 2990 * (g.end_ns - g.start_ns) // 1000 for g in gaps)
    assert entries


def test_a_wrong_password_is_a_reason(simulator):
    with polling(simulator.config("wrong")) as poller:
        assert "geheim" not in up(poller, False, "ipmitool").reason


def test_controller_without_dcmi_is_reported(tmp_path):
    simulator = Simulator(tmp_path, dcmi=False)
    try:
        with polling(simulator.config()) as poller:
            up(poller, False, "Invalid command")
            time.sleep(0.1)
            assert poller.drain() == []
    finally:
        simulator.stop()
