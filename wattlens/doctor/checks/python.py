"""The Python that runs Wattlens, and what it needs."""

import platform
from collections.abc import Iterator
from importlib import metadata

import wattlens
from wattlens.doctor.facts import CheckContext
from wattlens.doctor.finding import DoctorCheck, DoctorFinding, FindingLevel

_NEEDS = ("nvidia-ml-py", "prometheus-client", "pydantic", "PyYAML")


def _look(facts: CheckContext) -> Iterator[DoctorFinding]:
    del facts
    text = f"Wattlens {wattlens.__version__} on Python {platform.python_version()}"
    yield DoctorFinding(FindingLevel.OK, "Python", text)  # an older one than 3.11 would not have come here
    versions, missing = [], []
    for name in _NEEDS:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        fix = f"pip install {' '.join(missing)}"
        yield DoctorFinding(FindingLevel.FAIL, "packages", f"missing: {', '.join(missing)}", fix, stops=True)
    else:
        yield DoctorFinding(FindingLevel.OK, "packages", ", ".join(versions))
    try:
        other = metadata.version("pynvml")
    except metadata.PackageNotFoundError:
        return
    yield DoctorFinding(
        FindingLevel.WARN,
        "pynvml",
        f"the package pynvml {other} is also installed and may shadow nvidia-ml-py",
        "pip uninstall pynvml, then pip install --force-reinstall nvidia-ml-py",
    )


SPEC = DoctorCheck("Python and the packages that the agent needs", "software", _look)
