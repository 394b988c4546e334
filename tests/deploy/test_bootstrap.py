"""deploy/bootstrap.sh in a real sh on a PATH that lacks things: one clear line each, never half an environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/bootstrap.sh"


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    """A PATH with next to nothing on it; `id` says that we are not root, so that nothing is ever installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "rm"):
        (folder / tool).symlink_to(shutil.which(tool) or pytest.fail(tool))
    _program(folder / "id", "echo 1000")
    return folder


def _program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def _run(bin_dir: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, env={"PATH": str(bin_dir)}, capture_output=True, text=True, check=False)


def _one_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.stdout == ""
    assert done.stderr.startswith("wattlens: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_old_python_error_names_its_version(bin_dir: Path, tmp_path: Path) -> None:
    old = _program(tmp_path / "python3.9", 'case "$2" in *python_version*) echo 3.9.2 ;; *) exit 1 ;; esac')
    done = _run(bin_dir, "venv", old, tmp_path / "venv")
    assert done.returncode == 1
    assert "3.11 or newer is required" in (message := _one_line(done))
    assert "3.9.2" in message
    assert "make PYTHON=" in message
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("python", "says"), [("python3", "apt-get install python3 python3-venv"), ("/nowhere/python", "make PYTHON=")]
)
def test_a_python_that_is_not_there(bin_dir: Path, tmp_path: Path, python: str, says: str) -> None:
    done = _run(bin_dir, "venv", python, tmp_path / "venv")
    assert done.returncode == 1
    assert says in (message := _one_line(done))
    assert python in message


def test_without_ensurepip_the_package_is_named(bin_dir: Path, tmp_path: Path) -> None:
    body = f'case "$2" in *ensurepip*) echo "No module named ensurepip" >&2; exit 1 ;; esac; exec {sys.executable} "$@"'
    done = _run(bin_dir, "venv", _program(tmp_path / "python", body), tmp_path / "venv")
    assert done.returncode == 1
    version = "python{}.{}-venv".format(*sys.version_info)
    assert f"apt-get install {version}" in _one_line(done)


def test_a_failed_environment_is_not_left_half_made(bin_dir: Path, tmp_path: Path) -> None:
    body = 'case "$1" in -m) mkdir -p "$3/bin"; touch "$3/bin/python"; exit 1 ;; esac'
    for tool in ("mkdir", "touch"):
        (bin_dir / tool).symlink_to(shutil.which(tool) or pytest.fail(tool))
    done = _run(bin_dir, "venv", _program(tmp_path / "python", body), tmp_path / "venv")
    assert done.returncode == 1
    assert "could not make the virtual environment" in _one_line(done)
    assert not (tmp_path / "venv").exists()


@pytest.mark.smoke  # seconds of ensurepip, which `make test` itself runs first on a fresh machine
def test_a_good_python_makes_an_environment(bin_dir: Path, tmp_path: Path) -> None:
    done = _run(bin_dir, "venv", sys.executable, tmp_path / "venv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert os.access(tmp_path / "venv/bin/python", os.X_OK)


def test_newer_python_is_used_where_the_default_is_too_old(bin_dir: Path, tmp_path: Path) -> None:
    _program(bin_dir / "python3", "exit 1")
    _program(bin_dir / "python3.11", f'[ "$1" != -m ] || echo "$*" > {tmp_path}/asked')
    done = _run(bin_dir, "venv", "python3", tmp_path / "venv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "asked").read_text() == f"-m venv {tmp_path / 'venv'}\n"


def test_newer_python_is_installed_where_the_default_is_too_old(bin_dir: Path, tmp_path: Path) -> None:
    _program(bin_dir / "id", "echo 0")
    _program(bin_dir / "python3", "exit 1")
    new = _program(tmp_path / "new", f'[ "$1" != -m ] || echo "$*" > {tmp_path}/asked')
    _program(bin_dir / "apt-get", f'case "$*" in *python3.11-venv*) ln -s {new} {bin_dir}/python3.11 ;; esac')
    (bin_dir / "ln").symlink_to(shutil.which("ln") or pytest.fail("ln"))
    done = _run(bin_dir, "venv", "python3", tmp_path / "venv")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1] == "wattlens: installing with apt-get: python3.11 python3.11-venv"
    assert (tmp_path / "asked").read_text() == f"-m venv {tmp_path / 'venv'}\n"


def test_a_missing_compiler_is_one_line(bin_dir: Path) -> None:
    done = _run(bin_dir, "need", "cc", "gcc", "libc6-dev")
    assert done.returncode == 1
    assert _one_line(done) == "wattlens: 'cc' is missing; install it as root with: apt-get install gcc libc6-dev\n"


def test_what_is_there_is_not_mentioned(bin_dir: Path) -> None:
    _program(bin_dir / "cc", "exit 0")
    done = _run(bin_dir, "need", "cc", "gcc", "libc6-dev")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_prometheus_is_wanted_not_needed(bin_dir: Path) -> None:
    done = _run(bin_dir, "want", "prometheus", "prometheus")
    assert done.returncode == 0
    assert "skipped" in _one_line(done)


def test_root_installs_what_is_missing(bin_dir: Path, tmp_path: Path) -> None:
    _program(bin_dir / "id", "echo 0")
    _program(bin_dir / "apt-get", f'echo "$*" >> {tmp_path}/asked; printf "#!/bin/sh\\n" > {bin_dir}/cc; chmod +x {bin_dir}/cc')
    (bin_dir / "chmod").symlink_to(shutil.which("chmod") or pytest.fail("chmod"))
    done = _run(bin_dir, "need", "cc", "gcc", "libc6-dev")
    assert (done.returncode, _one_line(done)) == (0, "wattlens: installing with apt-get: gcc libc6-dev\n")
    assert (tmp_path / "asked").read_text() == "install -y -qq --no-install-recommends gcc libc6-dev\n"


def test_an_install_that_fails_ends_with_the_same_line(bin_dir: Path) -> None:
    _program(bin_dir / "id", "echo 0")
    _program(bin_dir / "apt-get", "exit 100")
    done = _run(bin_dir, "need", "cc", "gcc", "libc6-dev")
    assert done.returncode == 1
    assert "apt-get install gcc libc6-dev" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("arguments", [(), ("bogus",)])
def test_an_unknown_action(bin_dir: Path, arguments: tuple[str, ...]) -> None:
    done = _run(bin_dir, *arguments)
    assert done.returncode == 2
    assert "unknown action" in _one_line(done)
