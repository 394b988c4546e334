"""The bundle that images are built from: its bill of materials by CycloneDX' own schema, and two builds that are the same."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.container import bundle
from tests.support import need_module
from wattlens import __version__

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
ARCH = {machine: arch for arch, machine in bundle.MACHINES.items()}.get(platform.machine(), "amd64")
OTHER = "arm64" if ARCH == "amd64" else "amd64"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheels of the agent for this Python, for both architectures."""
    need_module("cyclonedx")
    wheels_dir = tmp_path_factory.mktemp("bundle") / "wheels"
    bundle.fetch(wheels_dir, "agent", [ARCH, OTHER], f"{sys.version_info.major}.{sys.version_info.minor}")
    return wheels_dir


def bill(folder: Path, arch: str) -> dict[str, Any]:
    sbom: dict[str, Any] = json.loads(bundle.bill(bundle.wheels(folder), "agent", arch))
    return sbom


@pytest.mark.parametrize("arch", [ARCH, OTHER])
def test_bill_is_valid_and_distinguishes_wheels(folder: Path, arch: str) -> None:
    need_module("cyclonedx")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = bundle.bill(bundle.wheels(folder), "agent", arch)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert (
        JsonStrictValidator(SchemaVersion.V1_6).validate_str(text.replace(f'"version": "{__version__}"', '"version": 1'))
        is not None
    )
    assert bundle.bill(bundle.wheels(folder), "agent", arch) == text, "the same text each time"
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.whl")}
    parts = json.loads(text)["components"]
    assert {part["hashes"][0]["content"] for part in parts} <= digests
    assert len({part["name"] for part in parts}) == len(parts)
    assert all(part["licenses"] for part in parts), "a licence that nobody knows cannot be kept"
    needs = {d["ref"].removeprefix("pkg:").split("@")[0]: str(d.get("dependsOn")) for d in json.loads(text)["dependencies"]}
    assert "pkg:pydantic-core@" in needs["pydantic"]
    assert all(f"pkg:{name}@" in needs["wattlens"] for name in ("nvidia-ml-py", "pydantic", "pyyaml", "grpcio"))


def test_both_architectures_have_the_same_versions(folder: Path) -> None:
    here, other = ({(p["name"], p["version"]) for p in bill(folder, arch)["components"]} for arch in (ARCH, OTHER))
    assert here == other
    constrained = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    assert {f"{name}=={version}" for name, version in here if name != "wattlens"} <= set(constrained)


def installed(folder: Path, where: Path) -> tuple[dict[str, tuple[int, int, str]], set[tuple[str, str]]]:
    """A virtual environment made as the image's recipe makes it: (mode, time, digest) by path, and what pip says is in it."""
    environ = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}

    def run(*words: str | Path) -> str:
        done = subprocess.run(list(map(str, words)), env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(sys.executable, "-m", "venv", "--without-pip", where)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", where / "bin/python")
    flags = ("--no-cache-dir", "--no-compile", "--no-index", "--find-links")
    run(*pip, "install", *flags, folder, "wattlens[auth,kubernetes,query-node,signing]", "fsspec")
    inside = {(bundle.canonical(p["name"]), p["version"]) for p in json.loads(run(*pip, "list", "--format", "json"))}
    run("sh", ROOT / "deploy/container/seal.sh", where)
    files = {}
    for path in where.rglob("*"):
        about = path.lstat()
        data = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        files[str(path.relative_to(where))] = (about.st_mode, int(about.st_mtime), hashlib.sha256(data).hexdigest())
    return files, inside


def test_two_builds_are_identical_and_match_the_bill(folder: Path, tmp_path: Path) -> None:
    where = tmp_path / "venv"
    first, inside = installed(folder, where)
    where.rename(tmp_path / "first")
    second, _ = installed(folder, where)
    assert {path for path in first.keys() | second.keys() if first.get(path) != second.get(path)} == set()
    assert {time for _, time, _ in first.values()} == {1_700_000_000}
    assert any(path.endswith(".pyc") for path in first), "bytecode is there: a read-only image could never keep it"
    assert inside == {(part["name"], part["version"]) for part in bill(folder, ARCH)["components"]}
    command = [where / "bin/wattlens", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.startswith("wattlens ")


def test_requirements_have_the_hash_of_every_wheel_and_pip_checks_them(folder: Path, tmp_path: Path) -> None:
    text = bundle.requirements(bundle.wheels(folder))
    digests = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.whl")}
    assert {word.removeprefix("--hash=sha256:") for word in text.split() if word.startswith("--hash")} == digests
    (six,) = [line for line in text.replace(" \\\n   ", "").splitlines() if line.startswith("nvidia-ml-py==")]
    for name, line, expected in (("right", six, 0), ("wrong", six.replace("sha256:", "sha256:0000")[:-4], 1)):
        (tmp_path / name).write_text(line + "\n")
        command = [
            sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--no-index",
            "--find-links", folder, "--require-hashes", "--target", tmp_path / f"to-{name}", "-r", tmp_path / name,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == expected, done.stderr
        assert ("DO NOT MATCH THE HASHES" in done.stderr) == bool(expected)


def test_a_missing_library_is_one_line_before_any_download(tmp_path: Path) -> None:
    """With a Python that has nothing but the standard library, as on a machine that only builds images."""
    script = ROOT / "deploy/container/bundle.py"
    command = [sys.executable, "-I", "-S", script, tmp_path / "wheels"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "pip install -c constraints.txt cyclonedx-python-lib" in done.stderr
    assert not (tmp_path / "wheels").exists()


def test_a_failed_download_leaves_the_folder_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = tmp_path / "wheels"
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(OSError, match="pip"):
        bundle.fetch(where, "agent", [ARCH], "3.13")
    assert list(where.iterdir()) == []
    monkeypatch.undo()


def test_a_folder_with_wheels_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["bundle.py", str(folder)])
    assert bundle.main() == 1
    assert "choose an empty folder" in capsys.readouterr().err
