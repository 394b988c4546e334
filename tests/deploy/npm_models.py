"""Packages of npm with the schemas of other projects, in the cache: the repository has neither a lock file nor node_modules."""

import subprocess
from pathlib import Path

from deploy import manifests
from tests.support import need_file, need_program


def install_models(name: str, version: str) -> Path:
    """Folder in which `@kubernetes-models/NAME` is installed; skips, or fails in CI, where it cannot be fetched."""
    npm = need_program("npm")
    folder = manifests.cache_dir().parent / f"{name}-models-{version}"
    package = folder / "node_modules/@kubernetes-models" / name / "package.json"
    if not package.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        command = [
            npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock",
            "--prefix", str(folder), f"@kubernetes-models/{name}@{version}",
        ]  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        need_file(package, done.stderr[-300:])
    return folder
