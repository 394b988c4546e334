"""The node's power by IPMI DCMI, through `ipmitool dcmi power reading`.

The program is run without a shell; a password reaches it in a file of ours that only we can read, never on its command line or
in its environment. Power is in whole watts, averaged by the controller over about a second (DCMI 1.5, 6.6.1).
"""

import re
import subprocess
import tempfile
from pathlib import Path

from energy_agent.config.node_meters import Ipmi, NodeMeters
from energy_agent.core.meters.reading import MeterError, MeterReading, Scope
from energy_agent.core.ports import Clock
from energy_agent.node.meter_source import NodeSource, believable_mw
from energy_agent.runtime.files.secret_file import read_secret

AGE_NS = 2_000_000_000
_READING = re.compile(r"^\s*Instantaneous power reading:\s*(-?\d{1,9}) Watts", re.MULTILINE)
_STATE = re.compile(r"^\s*Power reading state is:\s*(\w+)", re.MULTILINE)
_OUTPUT_LIMIT = 16_384


class IpmiMeter:
    """One controller."""

    def __init__(self, config: NodeMeters, clock: Clock) -> None:
        assert config.ipmi is not None
        self._ipmi, self._clock = config.ipmi, clock
        self._secret = tempfile.NamedTemporaryFile("w", prefix="wattlens-ipmi-")  # noqa: SIM115 - as long as the meter; 0600
        self._command = _command(self._ipmi, self._secret.name)
        if self._ipmi.interface == "lanplus":
            self._secret.write(read_secret(self._ipmi.password_file, "sources.node.ipmi.password_file"))
            self._secret.flush()

    def read(self) -> tuple[MeterReading, ...]:
        """The node's power."""
        try:
            done = subprocess.run(
                self._command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._ipmi.timeout_s,
                check=False,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin", "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired:
            raise MeterError(f"ipmitool did not respond within {self._ipmi.timeout_s:g} s") from None
        except OSError as error:
            raise MeterError(f"{self._ipmi.ipmitool}: {error.strerror}; install ipmitool") from None
        power_mw = parse(done.stdout[:_OUTPUT_LIMIT], done.stderr[:_OUTPUT_LIMIT], done.returncode)
        most_w, scope = self._ipmi.max_power_w, Scope(self._ipmi.scope)
        reading = MeterReading(
            scope.value, scope, self._clock.utc_ns(), self._clock.boot_ns(), power_mw=believable_mw(power_mw, most_w),
            max_mw=None if most_w is None else round(most_w * 1000), step_mw=1000, age_ns=AGE_NS,
        )  # fmt: skip
        return (reading,)

    def close(self) -> None:
        """Remove the file with the password."""
        self._secret.close()


def parse(output: bytes, errors: bytes, code: int) -> int:
    """Power in mW from what ipmitool said.

    Raises:
        MeterError: it failed, or the controller does not measure.
    """
    text = output.decode("utf-8", "replace")
    reading, state = _READING.search(text), _STATE.search(text)
    if code or reading is None:
        message = " ".join((errors.decode("utf-8", "replace").strip() or text.strip() or f"exited with status {code}").split())
        raise MeterError(f"ipmitool: {message[:200]}")
    if state is not None and state[1] != "activated":
        raise MeterError(f"the controller's power measurement is {state[1]}")
    return int(reading[1]) * 1000


def _command(ipmi: Ipmi, secret: str) -> list[str]:
    command = [str(ipmi.ipmitool), "-I", ipmi.interface]
    if ipmi.interface == "lanplus":
        assert ipmi.host is not None  # the model asks for it
        user = read_secret(ipmi.user_file, "sources.node.ipmi.user_file")
        command += ["-H", ipmi.host, "-p", str(ipmi.port), "-U", user, "-f", str(Path(secret)), "-C", str(ipmi.cipher_suite)]
        command += ["-L", ipmi.privilege, "-R", "1", "-N", str(max(1, int(ipmi.timeout_s / 2)))]
    return [*command, "dcmi", "power", "reading"]


SPEC = NodeSource(
    "the whole node by IPMI DCMI", lambda config: None if config.ipmi is None else config.ipmi.period_s, IpmiMeter
)
