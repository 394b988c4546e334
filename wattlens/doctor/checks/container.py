"""Container or bare machine."""

from wattlens.doctor.finding import CheckContext, DoctorCheck, Findings, ok


def _look(facts: CheckContext) -> Findings:
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
        yield ok("runs", kind)
        return
    yield ok("runs", f"{kind}; docs/security.md lists the required privileges and mounts")


SPEC = DoctorCheck("container or host", "node", _look)
