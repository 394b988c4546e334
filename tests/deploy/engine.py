"""A Docker engine of the test's own: its data, its socket, its end. It touches neither the host's firewall nor its bridges."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import eventually, need_program

ROOT = Path(__file__).parents[2]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDS = {"": _PROJECT["dependencies"], **_PROJECT["optional-dependencies"]}
"""What the product needs, by extra; "" for what it always needs."""
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")


class Engine:
    """Runs `docker` against the engine on `socket`."""

    def __init__(self, docker: str, socket: Path, environ: dict[str, str]) -> None:
        self._docker = docker
        self._environ = os.environ | {"DOCKER_HOST": f"unix://{socket}"} | environ

    def run(self, *arguments: str | Path, timeout: float = 120, stdin: int = subprocess.DEVNULL) -> str:
        """Output of `docker ARGUMENTS`; fails with what it said."""
        done = subprocess.run(
            [self._docker, *map(str, arguments)],
            env=self._environ, cwd=ROOT, stdin=stdin, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"docker {' '.join(map(str, arguments))}: {done.stderr[-3000:]}{done.stdout[-1000:]}"
        return done.stdout

    def compose(self, *arguments: str | Path, timeout: float = 120) -> str:
        """`docker compose` on the repository's file."""
        return self.run("compose", "--project-name", "wattlens-test", *arguments, timeout=timeout)


@contextmanager
def engine(folder: Path, environ: dict[str, str]) -> Iterator[Engine]:
    """An engine with its data in `folder`; everything that it started ends with it."""
    dockerd, docker = need_program("dockerd"), need_program("docker")
    socket = folder / "docker.sock"
    with (folder / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(
            [
                dockerd, "--host", f"unix://{socket}", "--data-root", folder / "data", "--exec-root", folder / "exec",
                "--pidfile", folder / "dockerd.pid", "--bridge=none", "--iptables=false", "--ip6tables=false",
                "--ip-forward=false", "--ip-masq=false",
            ],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        container_engine = Engine(docker, socket, environ)
        eventually(lambda: daemon.poll() is not None or socket.exists())
        container_engine.run("version")
        yield container_engine
    finally:
        daemon.terminate()
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait(10)
        _unmount_below(folder)
        shutil.rmtree(folder)  # a gigabyte of layers


def _unmount_below(folder: Path) -> None:
    """The engine mounts its data folder onto itself and leaves it so; deepest first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((p for p in points if Path(p).is_relative_to(folder)), reverse=True):
        subprocess.run(["umount", point], check=True)


def make_wheels(folder: Path, python: str, *extras: str) -> None:
    """Wheels of the product and of what it and its extras need at run time, for the image's Python (such as 3.13)."""
    abi = f"cp{python.replace('.', '')}"
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    target = ["--python-version", python, "--implementation", "cp", "--abi", abi, "--abi", "abi3", "--abi", "none", *platforms]
    needs = [need for extra in ("", *extras) for need in NEEDS[extra]]
    for command in (
        ["wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        ["download", "--only-binary=:all:", "--dest", str(folder), "-c", str(ROOT / "constraints.txt"), *target, *needs],
    ):
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *command]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]


def import_build_image(docker: Engine, folder: Path, tag: str) -> None:
    """Build a Debian image with Python, a C compiler and busybox from packages, without a registry."""
    archive = folder / "build.tar"
    command = [
        need_program("mmdebstrap"), "--quiet", "--variant=minbase", "--include=python3-venv,gcc,libc6-dev,busybox",
        "--dpkgopt=force-unsafe-io", "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*",
        "trixie", str(archive),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    docker.run("import", archive, tag)
    archive.unlink()
