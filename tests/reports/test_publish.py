"""A report that is written again into its folder: with the same figures it gains forms and a signature, and never loses one."""

import shutil
import subprocess
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from reports.audit.verification import verify
from reports.figures.facts import Facts
from reports.figures.facts_json import facts_json
from reports.language import say_in
from reports.period import PeriodRequest
from reports.publish import publish
from reports.reproduce import facts_of
from tests.reports import chains, golden
from tests.support import need_module, need_program


@pytest.fixture(scope="module")
def facts(golden_days: Path) -> Facts:
    return chains.facts(golden_days, golden.organisation(), PeriodRequest("2026Q3"))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    need_module("cryptography")
    path = tmp_path / "signing.pem"
    subprocess.run([need_program("openssl"), "genpkey", "-algorithm", "ed25519", "-out", str(path)], check=True)
    path.chmod(0o600)
    return path


def write(facts: Facts, folder: Path, *forms: str, key: Path | None = None) -> None:
    publish(facts, folder, say_in("en"), forms=forms, command={"quarter": "2026Q3"}, sign_key=key)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_figures_with_fewer_formats_remove_no_form(facts: Facts, tmp_path: Path) -> None:
    write(facts, tmp_path, "csv", "html")
    before = contents(tmp_path)
    with pytest.raises(UsageError, match=r"contains the same figures with figures\.csv, which this run would remove"):
        write(facts, tmp_path, "html")
    assert contents(tmp_path) == before
    assert verify(tmp_path).ok
    write(facts, tmp_path, "html", "csv", "focus")
    assert set(contents(tmp_path)) == {*before, "focus.csv"}
    assert verify(tmp_path).ok


def test_the_same_figures_without_a_key_remove_no_signature(facts: Facts, tmp_path: Path, key: Path) -> None:
    folder = tmp_path / "report"
    write(facts, folder, "csv", key=key)
    before = contents(folder)
    for forms in (("csv",), ("csv", "html")):
        with pytest.raises(UsageError, match=r"contains the same figures with manifest\.sig, .*--sign-key"):
            write(facts, folder, *forms)
    assert contents(folder) == before
    write(facts, folder, "csv", "html", key=key)
    assert "manifest.sig" in contents(folder)


def test_a_form_that_is_gone_is_no_reason_and_an_interim_report_may_lose_forms(facts: Facts, tmp_path: Path) -> None:
    write(facts, tmp_path / "final", "csv", "html")
    (tmp_path / "final" / "report.html").unlink()
    write(facts, tmp_path / "final", "csv")
    assert verify(tmp_path / "final").ok
    interim = facts_of(facts_json(facts).replace(b'"status": "final"', b'"status": "interim"'), "facts.json")
    write(interim, tmp_path / "interim", "csv", "html")
    write(facts, tmp_path / "interim", "csv")
    assert not (tmp_path / "interim" / "report.html").exists()
    shutil.rmtree(tmp_path / "interim")
