"""Run every check over one look at the node."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from energy_agent.core import plugin
from wattlens.doctor.finding import GROUPS, CheckContext, DoctorCheck, DoctorFinding, FindingLevel

SCHEMA = "wattlens-doctor/1"


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, in the order of the page: (name of the check, group, finding)."""

    node: str
    simulated: bool
    driver: str
    gpu_count: int
    findings: Sequence[tuple[str, str, DoctorFinding]]

    @property
    def can_run(self) -> bool:
        """Whether the agent can run here as it is."""
        return not any(f.stops and f.status is FindingLevel.FAIL for _, _, f in self.findings)

    def counts(self) -> Mapping[FindingLevel, int]:
        """How many findings of each status."""
        return {s: sum(f.status is s for _, _, f in self.findings) for s in FindingLevel}

    def as_json(self) -> dict[str, Any]:
        """Stable: keys are added, never renamed or removed within a schema."""
        return {
            "schema": SCHEMA,
            "node": self.node,
            "simulated": self.simulated,
            "driver": self.driver,
            "gpus": self.gpu_count,
            "can_run": self.can_run,
            "counts": {s.value: n for s, n in self.counts().items()},
            "findings": [
                {"check": name, "group": group} | asdict(f) | {"devices": list(f.devices)} for name, group, f in self.findings
            ],
        }


def examine(facts: CheckContext, node: str) -> Examination:
    """Run every check. One that fails itself is a finding, and the others still run."""
    import wattlens.doctor.checks as package

    checks: dict[str, DoctorCheck] = plugin.discover(package)
    findings: list[tuple[str, str, DoctorFinding]] = []
    for name, check in sorted(checks.items(), key=lambda item: (GROUPS.index(item[1].group), item[0] != "driver", item[0])):
        try:
            findings += [(name, check.group, f) for f in check.look(facts)]
        except (OSError, ValueError) as error:
            means = f"this check itself failed: {error}"
            findings.append((name, check.group, DoctorFinding(FindingLevel.WARN, name, means, "please report it")))
    return Examination(node, facts.simulate is not None, facts.probe.driver, facts.probe.count, findings)
