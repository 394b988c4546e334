"""Container or bare machine."""

from collections.abc import Iterator

from wattlens.doctor.facts import Facts
from wattlens.doctor.finding import Check, Finding, Status


def _look(facts: Facts) -> Iterator[Finding]:
    kind = "on the machine itself"
    if facts.environ.get("KUBERNETES_SERVICE_HOST"):
        kind = "in a Kubernetes pod"
    elif (facts.root / ".dockerenv").exists():
        kind = "in a Docker container"
    elif (facts.root / "run/.containerenv").exists():
        kind = "in a Podman container"
    elif "container" in facts.environ:
        kind = f"in a container ({facts.environ['container']})"
    if kind.startswith("on"):
        yield Finding(Status.OK, "runs", kind)
        return
    yield Finding(Status.OK, "runs", f"{kind}; what it must be given is listed in docs/security.md")


SPEC = Check("container or bare machine", "node", _look)
