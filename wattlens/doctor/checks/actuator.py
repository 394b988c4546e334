"""What steering would need. Nothing is tried: a setter is never called here."""

import os
from pathlib import Path

from energy_agent.owners.process_status import status_field
from wattlens.doctor.finding import CheckContext, DoctorCheck, DoctorFinding, FindingLevel, Findings, absent, ok

_SYS_ADMIN = 1 << 21


def _look(facts: CheckContext) -> Findings:
    wanted = facts.config.dvfs.mode == "enforce"
    capabilities = "".join(status_field(_status(), "CapEff")) or "0"
    able = bool(int(capabilities, 16) & _SYS_ADMIN) and os.geteuid() == 0
    if able:
        yield ok("steering", "running as uid 0 with CAP_SYS_ADMIN, which the actuator needs and the agent does not")
    else:
        yield DoctorFinding(
            FindingLevel.WARN if wanted else FindingLevel.ABSENT,
            "steering",
            "the actuator needs uid 0 with CAP_SYS_ADMIN, which this process does not have; the agent does not need them",
            "run wattlens actuator as a separate service (docs/dvfs.md)" if wanted else "",
        )
    devices = sorted(facts.probe.devices.items())
    blocked = tuple(i for i, a in devices if "sm_clock_mhz" in a.sample.absent or a.info.sm_clock_max_mhz is None)
    if blocked:
        yield absent("steering", "the driver does not report the SM clock, so a clock lock cannot be verified", devices=blocked)


def _status() -> str:
    try:
        return Path("/proc/self/status").read_bytes().decode(errors="replace")
    except OSError:
        return ""


SPEC = DoctorCheck("requirements of steering, checked without changing a setting", "actuator", _look)
