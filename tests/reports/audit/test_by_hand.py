"""docs/report-audit.md: its commands for sha256sum, openssl and jq hold for a sound report, and fail for one that changed."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from reports.audit.signing import public_key, sign_manifest
from tests.reports.audit import editions
from tests.support import need_module, need_program

PAGE = Path(__file__).parents[3] / "docs" / "report-audit.md"
BLOCKS = re.findall(r"^<!-- run by: tests/reports/audit/test_by_hand.py -->\n```sh\n(.*?)^```", PAGE.read_text(), re.M | re.S)
KEYS, FILES, SIGNATURE, INPUTS, ROOT, DAYS = BLOCKS


def shell(folder: Path, block: str) -> "subprocess.CompletedProcess[str]":
    command = ["bash", "-euo", "pipefail", "-c", block]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the signer's keys as the page makes them, a signed report, and the days that it was made of."""
    need_module("cryptography")
    for program in ("bash", "jq", "openssl", "sha256sum"):
        need_program(program)
    assert shell(tmp_path, KEYS).returncode == 0
    facts = editions.document()
    facts["inputs"]["days"].reverse()  # the facts may have another order
    for each in facts["inputs"]["days"]:
        each["statement"] = 12
        folder = tmp_path / "days" / each["site"] / each["day"] / "r0012"
        folder.mkdir(parents=True)
        for name in each["files"]:
            text = f"{each['site']} {each['day']} {name}"
            (folder / name).write_text(text)
            each["files"][name] = editions.digest(text)
    editions.write(tmp_path / "report", facts)
    sign_manifest(tmp_path / "report", tmp_path / "signing.pem")
    return tmp_path


@pytest.mark.parametrize("block", [FILES, SIGNATURE, INPUTS, ROOT, DAYS])
def test_a_sound_report_passes(place: Path, block: str) -> None:
    done = shell(place, block)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_key_of_the_page_is_one_that_signs_here_and_its_fingerprint_is_printed(place: Path) -> None:
    from reports.audit.signing import fingerprint

    assert shell(place, SIGNATURE).stdout.startswith(fingerprint(public_key(place / "signer.pem")))


def test_a_changed_file_fails(place: Path) -> None:
    (place / "report" / "report.html").write_text("changed")
    assert "report.html: FAILED" in shell(place, FILES).stdout


def test_a_changed_manifest_fails(place: Path) -> None:
    path = place / "report" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["inputs"]["days"][0]["statement"] = 13
    path.write_text(json.dumps(manifest))
    for block in (SIGNATURE, INPUTS, ROOT):
        assert shell(place, block).returncode != 0


def test_a_signature_by_another_key_fails(place: Path) -> None:
    assert shell(place, KEYS).returncode == 0  # makes another key in the place of the signer's
    assert shell(place, SIGNATURE).returncode != 0


def test_a_changed_day_fails(place: Path) -> None:
    (place / "days" / "fra1" / "2026-07-02" / "r0012" / "cell.parquet").write_text("changed")
    assert "fra1/2026-07-02/r0012/cell.parquet: FAILED" in shell(place, DAYS).stdout
