"""The Python that runs Wattlens, and what it needs."""

import platform
from importlib import metadata

import wattlens
from wattlens.doctor.finding import CheckContext, DoctorCheck, Findings, fail, ok, warn

_NEEDS = ("nvidia-ml-py", "prometheus-client", "pydantic", "PyYAML")


def _look(facts: CheckContext) -> Findings:
    del facts
    yield ok(
        "Python", f"Wattlens {wattlens.__version__} on Python {platform.python_version()}"
    )  # an older one than 3.11 would not have come here
    versions, missing = [], []
    for name in _NEEDS:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        yield fail("packages", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}", stops=True)
    else:
        yield ok("packages", ", ".join(versions))
    try:
        other = metadata.version("pynvml")
    except metadata.PackageNotFoundError:
        return
    yield warn(
        "pynvml",
        f"the package pynvml {other} is also installed and may shadow nvidia-ml-py",
        "pip uninstall pynvml, then pip install --force-reinstall nvidia-ml-py",
    )


SPEC = DoctorCheck("Python and the packages that the agent needs", "software", _look)
