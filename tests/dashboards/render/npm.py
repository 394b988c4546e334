"""Grafana's published packages and the page built from them, in the user's cache: a second run installs and builds nothing.

Nothing of it lies in the repository but the sources of the page and the exact versions; no lock file, as one names a registry.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import need_program

PAGE = Path(__file__).parent / "page"
INSTALL = (
    "install",
    "--ignore-scripts",
    "--legacy-peer-deps",
    "--no-package-lock",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
)


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(home) if home else Path.home() / ".cache") / "wattlens"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _digest(*files: Path) -> str:
    """Of the files' names and contents."""
    whole = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        whole.update(f"{file.relative_to(PAGE)} {len(content)}\n".encode() + content)
    return whole.hexdigest()[:16]


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time installs and builds."""
    with (_cache() / "dashboards.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fill_folder(folder: Path, fill: Callable[[Path], None]) -> Path:
    """`folder`, filled in one step: half a folder would pass for a whole one the next time."""
    if not folder.is_dir():
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            fill(draft)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command[:2])}: {done.stdout}{done.stderr}"


def installed() -> Path:
    """Folder with node_modules of package.json's exact versions.

    Raises:
        pytest.skip.Exception, pytest.fail.Exception: node or npm is missing.
    """
    need_program("node")
    npm = need_program("npm")

    def fill(draft: Path) -> None:
        shutil.copy(PAGE / "package.json", draft)
        _run(draft, npm, *INSTALL)

    with _alone():
        return _fill_folder(_cache() / f"dashboards-{_digest(PAGE / 'package.json')}", fill)


def built() -> Path:
    """Folder with the page's sources and, under dist, its bundle; it lies in `installed()`, where node finds the packages."""
    packages = installed()
    sources = sorted(path for path in PAGE.rglob("*") if path.is_file())

    def fill(draft: Path) -> None:
        shutil.copytree(PAGE, draft, dirs_exist_ok=True)
        _run(draft, need_program("node"), str(packages / "node_modules/vite/bin/vite.js"), "build")

    with _alone():
        return _fill_folder(packages / f"page-{_digest(*sources)}", fill)
