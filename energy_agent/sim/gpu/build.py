"""Builds the simulated `libnvidia-ml.so.1` from its C source, once per version of the source, into the user's cache.

A GPU node never needs this, so the wheel has no binary and needs no compiler until the simulator starts.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from energy_agent.core.errors import UsageError, WattlensError

SONAME = "libnvidia-ml.so.1"
FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror",
         f"-Wl,-soname,{SONAME}", "-pthread")  # fmt: skip


@cache
def library_path() -> Path:
    """Path of the built library; builds it when the cache has none for this source.

    Raises:
        UsageError: no C compiler, or the cache folder cannot be written.
        WattlensError: the compiler failed.
    """
    with as_file(files("energy_agent.sim.gpu") / "native") as source:
        sources = sorted(p for p in source.iterdir() if p.suffix in {".c", ".h"})
        digest = hashlib.sha256(" ".join(FLAGS).encode())
        for path in sources:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        library = _cache_folder() / f"sim-{digest.hexdigest()[:16]}" / SONAME
        if not library.exists():
            _build([p for p in sources if p.suffix == ".c"], library)
    return library


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "wattlens"


def _build(sources: list[Path], library: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise UsageError(
            "building the simulated NVML library requires a C compiler, but cc was not found: install gcc (Debian: apt "
            "install gcc libc6-dev)"
        )
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(dir=library.parent)
    except OSError as error:
        raise UsageError(f"cannot write the build cache {library.parent}: {error.strerror}; set XDG_CACHE_HOME") from error
    try:
        built = Path(folder) / SONAME
        done = subprocess.run(
            [compiler, *FLAGS, *map(str, sources), "-o", str(built), "-lm"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode == -signal.SIGINT:
            raise KeyboardInterrupt  # the terminal sent Ctrl-C to the compiler too
        if done.returncode != 0:
            first = (done.stderr.strip() or "no message").splitlines()[0]
            raise WattlensError(f"{compiler} could not build the simulated NVML library: {first}")
        built.replace(library)  # atomic: two first users may build at once
    finally:
        shutil.rmtree(folder, ignore_errors=True)
