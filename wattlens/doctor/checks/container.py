"""Container or bare machine."""

from collections.abc import Iterator

from wattlens.doctor.facts import CheckContext
from wattlens.doctor.finding import DoctorCheck, DoctorFinding, FindingLevel


def _look(facts: CheckContext) -> Iterator[DoctorFinding]:
    kind = "on the host"
    if facts.environ.get("KUBERNETES_SERVICE_HOST"):
        kind = "in a Kubernetes pod"
    elif (facts.root / ".dockerenv").exists():
        kind = "in a Docker container"
    elif (facts.root / "run/.containerenv").exists():
        kind = "in a Podman container"
    elif "container" in facts.environ:
        kind = f"in a container ({facts.environ['container']})"
    if kind.startswith("on"):
        yield DoctorFinding(FindingLevel.OK, "runs", kind)
        return
    yield DoctorFinding(FindingLevel.OK, "runs", f"{kind}; docs/security.md lists the required privileges and mounts")


SPEC = DoctorCheck("container or host", "node", _look)
