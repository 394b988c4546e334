"""The manifest: the same bytes for the same report, nothing of a machine in it, and clear words for one that was changed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import WattlensError
from reports.audit.manifest import as_named, library_versions, parse_manifest, read_manifest, write_manifest
from tests.reports.audit import editions
from tests.support import LONG_NUMBERS_REFUSED


def test_two_folders_have_the_same_bytes_and_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    manifest = editions.write(tmp_path / "a")
    editions.write(tmp_path / "elsewhere" / "b")
    raw = (tmp_path / "a" / "manifest.json").read_bytes()
    assert raw == (tmp_path / "elsewhere" / "b" / "manifest.json").read_bytes()
    assert read_manifest(tmp_path / "a").as_bytes() == manifest.as_bytes() == raw
    assert raw.isascii()
    assert raw.endswith(b"}\n")


def test_manifest_lists_outputs_command_and_inputs(tmp_path: Path) -> None:
    editions.write(tmp_path, editions.late_and_revised(), sites=("fra1", "sjc1"), accept_coverage=None, hourly=True, top=5)
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    page = (tmp_path / "report.html").read_bytes()
    assert manifest["outputs"]["report.html"] == {"sha256": hashlib.sha256(page).hexdigest(), "bytes": len(page)}
    assert sorted(manifest["outputs"]) == ["facts.json", "figures.csv", "report.html"]
    command = {"quarter": "2026Q3", "ledger": "ledger", "sites": ["fra1", "sjc1"], "accept_coverage": None, "hourly": True}
    assert manifest["command"] == command | {"top": 5}
    assert (manifest["program"], manifest["label"], manifest["edition"]) == ("wattlens 1.0.0", "2026Q3", 2)
    assert manifest["restates"] == editions.sha256(editions.document())
    assert manifest["inputs"]["files"] == [{"name": "org.yaml", "sha256": editions.digest("org.yaml")}]
    assert [each["id"] for each in manifest["inputs"]["factors"]] == ["deu-2025", "usa-2024"]
    assert [(d["site"], d["day"], d["statement"]) for d in manifest["inputs"]["days"]] == [
        ("fra1", "2026-07-01", 0), ("fra1", "2026-07-02", 0), ("sjc1", "2026-07-01", 0), ("sjc1", "2026-07-02", 1),
    ]  # fmt: skip


def test_the_ledger_root_is_over_the_sorted_lines_of_days_and_files(tmp_path: Path) -> None:
    editions.write(tmp_path)
    inputs = json.loads((tmp_path / "manifest.json").read_bytes())["inputs"]
    lines = []
    for each in inputs["days"]:
        for name, digest in [("", each["inputs_sha256"]), *each["files"].items()]:
            words = [each["site"], each["day"], str(each["statement"]), name, digest]
            lines.append("\t".join(word for word in words if word) + "\n")
    assert inputs["ledger_root"] == hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


@given(st.data())
def test_the_ledger_root_moves_with_every_statement_and_hash(data: st.DataObject) -> None:
    first, facts = editions.make_edition(editions.document()), editions.document()
    day = data.draw(st.sampled_from(facts["inputs"]["days"]))
    key = data.draw(st.sampled_from(["statement", "inputs_sha256", "site", "files", "file"]))
    if key == "file":
        day["files"]["cell.parquet"] = editions.digest("other")
    else:
        other: dict[str, Any] = {"statement": 7, "inputs_sha256": "0" * 64, "site": "ams1", "files": {}}
        day[key] = other[key]
    assert editions.make_edition(facts).inputs.ledger_root != first.inputs.ledger_root


def test_the_order_of_days_in_the_facts_does_not_matter(tmp_path: Path) -> None:
    facts = editions.document()
    facts["inputs"]["days"].reverse()
    assert editions.make_edition(facts).inputs.ledger_root == editions.make_edition(editions.document()).inputs.ledger_root


@pytest.mark.parametrize(
    ("given_as", "named"),
    [
        ("2026Q3", "2026Q3"),
        ("ledger/days", "ledger/days"),
        ("/srv/secret-place/days", "days"),
        ("../../days", "days"),
        ("~/days", "days"),
        ("file:///srv/secret-place/days", "days"),
        ("s3://fleet/days", "s3://fleet/days"),
        ("https://user:password@host/days?signature=abc#x", "https://host/days"),
        ("s3://key:se@cret@fleet/days", "s3://fleet/days"),
    ],
)
def test_no_folder_of_a_machine_and_no_secret_comes_into_a_manifest(tmp_path: Path, given_as: str, named: str) -> None:
    assert as_named(given_as) == named
    assert editions.write(tmp_path, ledger=given_as, more=(given_as,)).command["ledger"] == named
    text = (tmp_path / "manifest.json").read_text()
    assert not any(secret in text for secret in ("secret-place", "password", "se@cret", "signature"))


def test_a_signature_of_an_earlier_manifest_goes(tmp_path: Path) -> None:
    editions.write(tmp_path)
    (tmp_path / "manifest.sig").write_text("{}")
    editions.write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["facts.json", "figures.csv", "manifest.json", "report.html"]


def test_an_output_that_is_not_there_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    editions.write(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(WattlensError, match=r"report\.pdf: cannot be read: No such file"):
        write_manifest(tmp_path, program="p", command={}, outputs=["report.pdf"])
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "manifest.json", "manifest.sig", ".hidden", ""])
def test_an_output_is_a_plain_file_of_the_folder(tmp_path: Path, name: str) -> None:
    editions.write(tmp_path)
    with pytest.raises(ValueError, match="not a file of a report"):
        write_manifest(tmp_path, program="p", command={}, outputs=[name])
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    manifest["outputs"][name] = {"sha256": "0" * 64, "bytes": 1}
    with pytest.raises(WattlensError, match="name of a report file"):
        parse_manifest(json.dumps(manifest).encode(), "m")


def test_an_argument_may_be_long_as_the_table_of_a_restatement_is(tmp_path: Path) -> None:
    editions.write(tmp_path, restatement="x" * 100_000)
    assert read_manifest(tmp_path).command["restatement"] == "x" * 100_000


def test_libraries_are_those_that_are_installed() -> None:
    versions = library_versions(["hypothesis", "no-such-library-at-all"])
    assert versions.keys() == {"hypothesis"}


def _tampered(change: Any) -> bytes:
    inputs = editions.make_edition(editions.document()).inputs.plain()
    document: dict[str, Any] = {
        "schema": "wattlens.report.manifest/1", "program": "p", "command": {}, "label": "x", "edition": 1, "restates": None,
        "inputs": inputs | {"ledger_root": editions.make_edition(editions.document()).inputs.ledger_root},
        "outputs": {"facts.json": {"sha256": "0" * 64, "bytes": 1}}, "libraries": {},
    }  # fmt: skip
    change(document)
    return (json.dumps(document, sort_keys=True, indent=1) + "\n").encode()


def test_the_document_that_is_tampered_with_below_is_sound() -> None:
    assert parse_manifest(_tampered(lambda _: None), "m").label == "x"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(schema="wattlens.report.manifest/9"), "schema: Input should be 'wattlens.report.manifest/1'"),
        (lambda d: d.pop("program"), "program: Field required"),
        (lambda d: d["outputs"].pop("facts.json"), "outputs: facts.json"),
        (lambda d: d["outputs"]["facts.json"].update(bytes=-1), "outputs.facts.json.bytes: Input should be"),
        (lambda d: d["outputs"]["facts.json"].update(bytes=True), "outputs.facts.json.bytes: Input should be"),
        (lambda d: d["outputs"]["facts.json"].update(sha256="A" * 64), "outputs.facts.json.sha256: String should match"),
        (lambda d: d.update(edition=1.5), "edition: Input should be a valid integer"),
        (lambda d: d.update(label="a\x1b[2J"), "label: expected a printable text"),
        (lambda d: d.update(label="a" * 2_000_000), "label: String should have at most 1048576"),
        (lambda d: d.update(restates=""), "restates: String should match"),
        (lambda d: d["command"].update(a={}), "command.a."),
        (lambda d: d["inputs"].update(days={}), "inputs.days: Input should be"),
        (lambda d: d["inputs"]["days"].append(d["inputs"]["days"][0]), "inputs.days: duplicate ('fra1', '2026-07-01')"),
        (lambda d: d["inputs"]["days"][2].update(day="1 July"), "inputs.days[2].day: String should match"),
        (lambda d: d["inputs"]["days"][1].update(site="a\nb"), "inputs.days[1].site: expected a printable text"),
        (lambda d: d["inputs"]["days"][1]["files"].update({"a\tb": "0" * 64}), "inputs.days[1].files."),
        (lambda d: d["inputs"]["days"][1].update(statement=5), "inputs.ledger_root: not the hash of its days"),
        (lambda d: d["inputs"].update(ledger_root="0" * 64), "inputs.ledger_root: not the hash of its days"),
        (lambda d: d["inputs"]["factors"].append(d["inputs"]["factors"][0]), "inputs.factors: duplicate 'deu-2024'"),
        (lambda d: d["inputs"]["files"].append(d["inputs"]["files"][0]), "inputs.files: duplicate 'org.yaml'"),
        (lambda d: d.update(signed_by="me"), "not in the canonical form of a report"),
    ],
)
def test_invalid_manifest_is_refused_in_one_line_that_names_the_key(change: Any, says: str) -> None:
    with pytest.raises(WattlensError) as caught:
        parse_manifest(_tampered(change), "m.json")
    assert says in str(caught.value)
    assert str(caught.value).startswith("m.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not a file that a report writes"),
        (b"[]", "expected a JSON object"),
        (b"\xff\xfe", "not a file that a report writes"),
        (b'{"a": NaN}', "NaN is not a finite number"),
        (b'{"a": 1, "a": 2}', "duplicate key"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not a file that a report writes" if LONG_NUMBERS_REFUSED else "schema"),
        (b'{"a": "\\ud800"}', "surrogates not allowed"),
    ],
)
def test_what_is_no_json_of_ours_is_refused(raw: bytes, says: str) -> None:
    with pytest.raises(WattlensError, match=says):
        parse_manifest(raw, "m")


@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.text() | st.integers(), lambda inner: (
    st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["schema", "inputs", "days", "outputs", "x"]), inner)
), max_leaves=20).map(lambda each: json.dumps(each).encode()))  # fmt: skip
def test_no_bytes_are_anything_but_a_manifest_or_an_error_in_one_line(raw: bytes) -> None:
    with pytest.raises(WattlensError) as caught:
        parse_manifest(raw, "m")
    assert "\n" not in str(caught.value)


def test_a_manifest_that_never_ends_is_not_read(tmp_path: Path) -> None:
    editions.write(tmp_path)
    with (tmp_path / "manifest.json").open("r+b") as file:
        file.truncate((64 << 20) + 1)
    with pytest.raises(WattlensError, match="larger than 67108864 bytes"):
        read_manifest(tmp_path)
