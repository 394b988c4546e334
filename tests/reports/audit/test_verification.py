"""Verification for an auditor: each file that differs from the written one, the signer, and differences from the ledger."""

import hashlib
import json
import os
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from energy_agent.core.errors import ChainError, UsageError, WattlensError
from reports.audit.edition import read_edition
from reports.audit.manifest import Manifest
from reports.audit.signing import sign_manifest
from reports.audit.verification import Verification, verify
from tests.reports.audit import editions
from tests.reports.audit.editions import document
from tests.support import need_module, need_program


@pytest.fixture
def report(tmp_path: Path) -> Path:
    editions.write(tmp_path / "report")
    return tmp_path / "report"


class Again:
    """A rebuild that returns the given facts, and records its requests."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.asked: list[tuple[str, str, Path | None]] = []

    def __call__(self, manifest: Manifest, ledger: str, org: Path | None) -> bytes:
        self.asked.append((manifest.label, ledger, org))
        return editions.raw(self.facts)


def failed(verification: Verification) -> dict[str, str]:
    return {check.name: check.detail for check in verification.checks if check.ok is False}


def test_a_report_as_it_was_made_holds(report: Path) -> None:
    verification = verify(report)
    assert verification.ok
    assert [(check.name, check.ok) for check in verification.checks] == [
        ("manifest.json", True), ("facts.json", True), ("figures.csv", True), ("report.html", True), ("signature", None),
        ("inputs", True), ("rebuilt", None),
    ]  # fmt: skip
    assert verification.checks[-1].detail == "not rebuilt: requires --ledger"


def test_a_required_signature_that_is_missing_fails_without_a_key_as_well(report: Path) -> None:
    assert verify(report).ok
    verification = verify(report, require_signature=True)
    assert failed(verification) == {"signature": "not signed, but a signature is required"}


def test_every_file_that_is_changed_missing_or_extra_is_named(report: Path) -> None:
    (report / "report.html").write_text("changed")
    (report / "figures.csv").unlink()
    (report / "notes.txt").write_text("mine")
    (report / "sub").mkdir()
    verification = verify(report)
    assert not verification.ok
    assert failed(verification) == {
        "report.html": "was changed: 7 bytes, expected 37",
        "figures.csv": "is missing",
        "notes.txt": "does not belong to this report; remove it from the folder",
        "sub": "does not belong to this report; remove it from the folder",
    }


def test_a_file_of_the_same_size_with_one_bit_changed(report: Path) -> None:
    page = bytearray((report / "report.html").read_bytes())
    page[5] ^= 1
    (report / "report.html").write_bytes(page)
    assert failed(verify(report)) == {"report.html": "was changed: its SHA-256 differs (37 bytes, as expected)"}


def mend(report: Path, **overrides: Any) -> None:
    """Change fields of a manifest, and update the hash and size of every file, as anyone with write access can."""
    manifest = json.loads((report / "manifest.json").read_bytes()) | overrides
    for name in manifest["outputs"]:
        raw = (report / name).read_bytes()
        manifest["outputs"][name] = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
    (report / "manifest.json").write_bytes((json.dumps(manifest, sort_keys=True, indent=1) + "\n").encode())


def test_a_size_that_is_not_that_of_the_file(report: Path) -> None:
    manifest = report / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"bytes": 37,', b'"bytes": 38,'))
    assert failed(verify(report)) == {"report.html": "37 bytes, but the manifest states 38 for this content"}


@pytest.mark.parametrize("program", ["wattlens 9.9", "wattlens 0.1.0 ", "other 0.1.0"])
def test_a_manifest_of_another_program_than_its_facts(tmp_path: Path, program: str) -> None:
    facts = document() | {"version": "0.1.0"}
    editions.write(tmp_path / "r", facts, program="wattlens 0.1.0")
    assert verify(tmp_path / "r").ok
    mend(tmp_path / "r", program=program)
    assert failed(verify(tmp_path / "r")) == {"inputs": "facts and manifest differ in program"}


@pytest.mark.parametrize(
    ("number", "restates", "says"),
    [
        (
            6,
            None,
            "edition 6, and nothing is restated: every edition except the first restates an earlier one",
        ),
        (
            1,
            "0" * 64,
            "edition 1, and 0000000000000000 is restated: every edition except the first restates an earlier one",
        ),
    ],
)
def test_an_edition_that_restates_nothing_or_a_first_that_does(
    tmp_path: Path, number: int, restates: str | None, says: str
) -> None:
    """Both files contain the same claim, from the author of both."""
    editions.write(tmp_path / "r", document() | {"edition": number, "restates": restates})
    assert failed(verify(tmp_path / "r")) == {"inputs": says}


@pytest.mark.parametrize(
    ("quarter", "ok"), [("2026Q3", True), ("2026-q3", True), ("2026Q2", False), ("2025Q3", False), (None, False)]
)
def test_the_arguments_ask_for_the_quarter_that_the_report_is_of(tmp_path: Path, quarter: str | None, ok: bool) -> None:
    editions.write(tmp_path / "r", quarter=quarter)
    failures = failed(verify(tmp_path / "r"))
    asked = (quarter or "no period").replace("2026-q3", "")
    assert failures == ({} if ok else {"inputs": f"the manifest's arguments request {asked}, but the report covers 2026Q3"})


@pytest.mark.parametrize(
    ("forged", "named"), [({"organisation": "Evil"}, "organisation"), ({"simulated": True, "status": "x"}, "simulated, status")]
)
def test_what_is_no_figure_and_was_changed_is_named(report: Path, forged: dict[str, Any], named: str) -> None:
    (report / "facts.json").write_bytes(editions.raw(document() | forged))
    mend(report)
    verification = verify(report, rebuild=Again(document()), ledger="days")
    size_b = len(editions.raw(document()))
    detail = f"the ledger gives different facts, {size_b} bytes; they differ from those in the folder in {named}"
    assert failed(verification) == {"rebuilt": detail}


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(report: Path) -> None:
    (report / "report.html").unlink()
    os.mkfifo(report / "report.html")
    assert "not a regular file" in failed(verify(report))["report.html"]


@pytest.mark.parametrize("name", ["report.html", "facts.json", "manifest.json", "manifest.sig"])
def test_a_link_in_the_place_of_a_file_fails(report: Path, tmp_path: Path, name: str) -> None:
    """Also one to a file with the right bytes: what is outside the folder may change after the check."""
    outside = tmp_path / "outside"
    if (report / name).exists():
        (report / name).rename(outside)
    (report / name).symlink_to(outside)  # of the signature: to nothing
    verification = verify(report)
    assert not verification.ok
    step = "signature" if name == "manifest.sig" else name
    assert "not a regular file but a symbolic link" in failed(verification)[step]


@pytest.mark.parametrize(("kind", "named"), [("device", "a device"), ("socket", "a socket"), ("folder", "a folder")])
def test_what_is_not_a_file_is_named(report: Path, monkeypatch: pytest.MonkeyPatch, kind: str, named: str) -> None:
    place = report / "report.html"
    place.unlink()
    if kind == "device":
        try:
            os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root may create a device")
    elif kind == "folder":
        place.mkdir()
    else:
        monkeypatch.chdir(report)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as each:
            each.bind("report.html")
    assert failed(verify(report))["report.html"].endswith(f"not a regular file but {named}")


def test_a_link_to_a_manifest_of_another_report_is_no_edition(report: Path, tmp_path: Path) -> None:
    """A link that leads nowhere is no sign that facts have no manifest."""
    (report / "manifest.json").unlink()
    (report / "manifest.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(WattlensError, match=r"manifest\.json: not a regular file but a symbolic link"):
        read_edition(report)
    (tmp_path / "link").symlink_to(report / "facts.json")
    assert read_edition(tmp_path / "link").label == "2026Q3"  # a file that the user names


def test_a_manifest_that_is_gone_or_changed_fails(report: Path) -> None:
    manifest = report / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"statement": 0', b'"statement": 3', 1))
    assert "ledger_root" in failed(verify(report))["manifest.json"]
    manifest.unlink()
    assert failed(verify(report)) == {"manifest.json": "no manifest: the report is incomplete; create it again"}


def test_a_folder_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected the folder of a report"):
        verify(tmp_path / "nowhere")


def test_a_manifest_written_for_other_facts_does_not_agree_with_them(report: Path) -> None:
    """Somebody who can hash a file can mend the output's hash, but then the inputs of the facts are not the manifest's."""
    import json

    manifest = json.loads((report / "manifest.json").read_bytes())
    raw = editions.raw(editions.late_and_revised())
    (report / "facts.json").write_bytes(raw)
    manifest["outputs"]["facts.json"] = {"sha256": editions.sha256(editions.late_and_revised()), "bytes": len(raw)}
    (report / "manifest.json").write_bytes((json.dumps(manifest, sort_keys=True, indent=1) + "\n").encode())
    assert failed(verify(report)) == {"inputs": "facts and manifest differ in edition, restates, days, factors"}


def test_with_a_trusted_key_only_its_signature_counts(report: Path, tmp_path: Path) -> None:
    need_module("cryptography")
    for name in ("a", "b"):
        key, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        openssl = need_program("openssl")
        subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
        subprocess.run([openssl, "pkey", "-in", key, "-pubout", "-out", public], check=True)
        key.chmod(0o600)
    assert failed(verify(report, [tmp_path / "a.pub"])) == {"signature": "not signed"}
    digest = sign_manifest(report, tmp_path / "a.pem")
    assert verify(report, [tmp_path / "a.pub"]).ok
    assert failed(verify(report, [tmp_path / "b.pub"])) == {"signature": f"signed by an untrusted key (key {digest})"}
    signature_check = {check.name: check for check in verify(report).checks}["signature"]
    assert (signature_check.ok, signature_check.detail) == (None, f"signed by an untrusted key (key {digest}); give --key")
    manifest = report / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"1.0.0", b"1.0.1"))
    assert failed(verify(report)).keys() == {"signature"}


def test_the_ledger_that_gives_the_same_facts(report: Path, tmp_path: Path) -> None:
    again = Again(document())
    verification = verify(report, rebuild=again, ledger="s3://fleet/days", org=tmp_path / "org.yaml")
    assert verification.ok
    assert again.asked == [("2026Q3", "s3://fleet/days", tmp_path / "org.yaml")]
    assert verification.checks[-1].detail == f"the ledger gives the same facts, {len(editions.raw(document()))} bytes"


def test_lists_inputs_and_figures_that_differ_in_the_ledger(report: Path) -> None:
    verification = verify(report, rebuild=Again(editions.late_and_revised()), ledger="days", program="wattlens 1.0.0")
    assert not verification.ok
    assert verification.checks[-1].detail.endswith("differ from those in the folder in 5 figures, edition, restates")
    assert verification.inputs is not None
    assert [each.text for each in verification.inputs] == [
        "day sjc1 2026-07-02: statement 0 -> 1; different segments; different files",
        "factor deu-2024: removed",
        "factor deu-2025: new",
    ]
    assert {each.id for each in verification.changes} == {
        "co2e.location", "co2e.location/site/fra1", "co2e.location/site/sjc1", "energy.facility", "energy.facility/site/sjc1",
    }  # fmt: skip
    assert verification.elsewhere == ["edition", "restates"]


def test_another_program_that_gives_other_facts_is_named(report: Path) -> None:
    facts = document()
    editions.figure_of(facts, "energy.facility")["value"] = "3001"
    verification = verify(report, rebuild=Again(facts), ledger="days", program="wattlens 2.0.0")
    assert verification.inputs is not None
    assert [each.text for each in verification.inputs] == ["program wattlens: version 1.0.0 -> 2.0.0"]
    assert [each.id for each in verification.changes] == ["energy.facility"]


def test_changed_figure_is_detected_when_the_ledger_matches_the_manifest(report: Path) -> None:
    facts = document()
    editions.figure_of(facts, "energy.facility")["value"] = "2999"
    (report / "facts.json").write_bytes(editions.raw(facts))
    verification = verify(report, rebuild=Again(document()), ledger="days")
    assert failed(verification).keys() == {"facts.json"}
    assert verification.inputs == ()
    assert [(each.id, each.absolute) for each in verification.changes] == [("energy.facility", 1)]


def test_unreadable_facts_are_still_compared_with_the_manifest(report: Path) -> None:
    (report / "facts.json").write_text("{}")
    verification = verify(report, rebuild=Again(document()), ledger="days")
    assert failed(verification).keys() == {"facts.json", "inputs"}
    assert verification.checks[-1].ok


def test_a_ledger_that_cannot_be_read_any_more_fails_and_a_wrong_one_is_wrong_usage(report: Path) -> None:
    def lose_statement(manifest: Manifest, ledger: str, org: Path | None) -> bytes:
        raise ChainError("fra1/2026-07-01/r0000: statement is not there")

    def wrong(manifest: Manifest, ledger: str, org: Path | None) -> bytes:
        raise UsageError("--ledger days: no such folder")

    detail = failed(verify(report, rebuild=lose_statement, ledger="days"))["rebuilt"]
    assert detail == "cannot be rebuilt: fra1/2026-07-01/r0000: statement is not there"
    with pytest.raises(UsageError):
        verify(report, rebuild=wrong, ledger="days")


def test_other_library_versions_are_listed_and_do_not_fail(report: Path) -> None:
    from reports.audit.manifest import write_manifest

    write_manifest(report, program="p", command={}, outputs=editions.FORMS, libraries={"typst": "0.0.1", "no-such": "1"})
    verification = verify(report)
    library_check = {check.name: check for check in verification.checks}["libraries"]
    assert verification.ok
    assert library_check.ok is None
    assert "no-such 1 (none here), typst 0.0.1 (" in library_check.detail


def test_different_grid_series_is_listed_as_a_different_input(report: Path) -> None:
    """It stands in no list of factors: its id in the figures ends in the hash of its content."""
    facts, again = document(), document()
    for edition, series in ((facts, "series.own.DE.direct.aaaa"), (again, "series.own.DE.direct.bbbb")):
        editions.figure_of(edition, "co2e.location/site/fra1")["factor_ids"] = [series]
    editions.figure_of(again, "co2e.location/site/fra1")["value"] = "400001"
    editions.write(report, facts)
    verification = verify(report, rebuild=Again(again), ledger="days", program="wattlens 1.0.0")
    assert verification.inputs is not None
    assert [each.text for each in verification.inputs] == [
        "factor series.own.DE.direct.aaaa: removed",
        "factor series.own.DE.direct.bbbb: new",
    ]
    assert [each.id for each in verification.changes] == ["co2e.location/site/fra1"]


def test_all_files_of_the_ledger_are_a_check_of_their_own(report: Path) -> None:
    """Two sites of two days, with two files each."""

    def check(wrong: list[str] | None) -> tuple[bool, bool | None, str]:
        verification = verify(report, rebuild=Again(document()), changed=lambda days, ledger: wrong, ledger="days")
        (one,) = [each for each in verification.checks if each.name == "ledger"]
        return verification.ok, one.ok, one.detail

    assert check([]) == (True, True, "8 files of 4 days are unchanged")
    assert check(["a: was changed", "b: cannot be read"]) == (False, False, "a: was changed; b: cannot be read")
    assert check(["x"] * 25)[2].endswith("x; and 5 more")
    assert check(None)[:2] == (True, None)
