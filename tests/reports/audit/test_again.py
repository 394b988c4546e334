"""Forms that were forged, and whose hashes were put into a manifest that nobody signed, are not those that the facts give."""

import csv
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from energy_agent.core.energy import State, WorkloadFacts
from energy_agent.core.errors import WattlensError
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports import reproduce
from reports.audit.verification import Verification, verify
from reports.figures.facts import Facts
from reports.figures.facts_json import facts_json
from reports.inputs.organisation import Organisation
from reports.language import Translator, say_in
from reports.period import PeriodRequest
from reports.publish import NAMES, USUAL, publish
from reports.reproduce import drawn_again, facts_of
from tests.reports import chains
from tests.reports.golden import at, cells
from tests.support import need_module

START = at("2026-07-01")
Said = dict[str, Any]
Paper = Literal["a4", "letter"]


@pytest.fixture(scope="module")
def report_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every form, of an hour of one GPU at 2 kWh: 7,200,000 J of team red."""
    for module in ("codecarbon", "duckdb", "typst", "xlsxwriter"):
        need_module(module)
    folder = tmp_path_factory.mktemp("again")
    metadata = Batch(
        devices=[DeviceFacts("GPU-1", "H100", 0.02, START)], facts=[WorkloadFacts("w", START, "pod", {"team": "red"})]
    )
    chains.write(folder / "segments", "lab", "n1", [metadata, Batch(cells(START, "GPU-1", "w", State.ACTIVE, ["0.5"] * 4))])
    days = chains.compacted(folder / "segments", folder / "days", Sites({}, "here"))
    facts = chains.facts(days, Organisation(), PeriodRequest("2026Q3"))
    publish(facts, folder / "report", say_in("en"), command={"quarter": "2026Q3"})
    return folder / "report"


@pytest.fixture(scope="module", autouse=True)
def _each_form_is_drawn_once() -> Iterator[None]:
    """Create each form once per document: other tests show that its bytes never change, and these change only other files."""
    drawings: dict[object, bytes] = {}
    draw = reproduce.make

    def make(
        facts: Facts, out: Path, say: Translator, forms: Sequence[str], paper: Paper, font_dirs: Sequence[Path]
    ) -> list[str]:
        assert len(forms) == 1
        name, key = NAMES[forms[0]], (facts_json(facts), say.language, *forms, paper, *font_dirs)
        if key not in drawings:
            draw(facts, out, say, forms, paper, font_dirs)
            drawings[key] = (out / name).read_bytes()
        (out / name).write_bytes(drawings[key])
        return [name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce, "make", make)
        yield


@pytest.fixture
def report(report_folder: Path, tmp_path: Path) -> Path:
    """A copy to do harm to."""
    shutil.copytree(report_folder, tmp_path / "report")
    return tmp_path / "report"


def program(report: Path) -> str:
    return "wattlens " + str(json.loads((report / "facts.json").read_bytes())["version"])


def checked(report: Path, by: str = "") -> Verification:
    return verify(report, draw=partial(drawn_again, program=by or program(report)))


def form_details(verification: Verification, ok: bool | None) -> list[str]:
    """Return the details about forms, and check that nothing else failed."""
    assert all(check.name == "forms" for check in verification.checks if check.ok is False)
    return [check.detail for check in verification.checks if check.name == "forms" and check.ok is ok]


def mend(report: Path, change: Callable[[Said], object] = lambda document: None) -> None:
    """The manifest with a change, and every file's hash and size as they are now."""
    manifest = json.loads((report / "manifest.json").read_bytes())
    change(manifest)
    for name in manifest["outputs"]:
        raw = (report / name).read_bytes()
        manifest["outputs"][name] = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
    (report / "manifest.json").write_bytes((json.dumps(manifest, sort_keys=True, indent=1) + "\n").encode())


@pytest.mark.smoke
def test_forms_as_they_were_made_hold(report: Path) -> None:
    names = ", ".join(NAMES[form] for form in USUAL)
    verification = checked(report)
    assert verification.ok
    assert form_details(verification, True) == [f"recreated from facts.json, identical: {names}"]
    assert form_details(verification, None) == []


@pytest.mark.smoke
def test_a_row_of_the_table_with_its_hash_in_the_manifest(report: Path) -> None:
    path = report / "figures.csv"
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    number = next(n for n, row in enumerate(rows, 2) if row["id"] == "energy.gpu")
    assert rows[number - 2]["value"] == "7200000"
    lines = path.read_text().split("\n")
    lines[number - 1] = lines[number - 1].replace("7200000", "5200000")
    path.write_text("\n".join(lines))
    mend(report)
    assert form_details(checked(report), False) == [f"figures.csv differs from what facts.json gives: line {number} differs"]


@pytest.mark.smoke
@pytest.mark.parametrize(("name", "old"), [("report.html", b"2.00 kWh"), ("emissions.csv", b"H100")])
def test_a_page_with_another_figure(report: Path, name: str, old: bytes) -> None:
    raw = (report / name).read_bytes()
    assert old in raw
    (report / name).write_bytes(raw.replace(old, old[::-1], 1))
    mend(report)
    (detail,) = form_details(checked(report), False)
    assert detail == f"{name} differs from what facts.json gives: line {raw[: raw.index(old)].count(10) + 1} differs"


def test_a_line_more_at_the_end(report: Path) -> None:
    with (report / "figures.csv").open("a") as file:
        file.write("energy.more,1\n")
    mend(report)
    assert len(form_details(checked(report), False)) == 1


def test_a_pdf_of_other_facts_and_one_that_is_far_larger(report: Path) -> None:
    raw = bytearray((report / "report.pdf").read_bytes())
    raw[len(raw) // 2] ^= 1
    (report / "report.pdf").write_bytes(raw)
    mend(report)
    assert form_details(checked(report), False) == ["report.pdf differs from what facts.json gives"]
    (report / "report.pdf").write_bytes(bytes(raw) * 6)
    mend(report)
    assert form_details(checked(report), False) == ["report.pdf differs from what facts.json gives: it is much larger"]


def test_a_workbook_that_another_zlib_packed_is_the_same_and_one_with_another_cell_is_not(report: Path) -> None:
    path = report / "report.xlsx"

    def packed(change: Callable[[bytes], bytes]) -> None:
        written = io.BytesIO()
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as new:
            for each in old.infolist():
                new.writestr(each.filename, change(old.read(each)))
        path.write_bytes(written.getvalue())
        mend(report)

    before = path.read_bytes()
    packed(lambda raw: raw)
    assert path.read_bytes() != before
    assert checked(report).ok
    packed(lambda raw: raw.replace(b"energy.gpu", b"energy.gqu"))
    assert form_details(checked(report), False) == ["report.xlsx differs from what facts.json gives"]
    path.write_bytes(b"no workbook")
    mend(report)
    assert form_details(checked(report), False) == ["report.xlsx differs from what facts.json gives"]


def test_a_form_that_was_taken_away_with_its_entry_is_missed(report: Path) -> None:
    (report / "report.pdf").unlink()
    mend(report, lambda manifest: manifest["outputs"].pop("report.pdf"))
    assert form_details(checked(report), False) == ["report.pdf was requested, but is not in the manifest"]


def test_extra_file_that_the_manifest_names_is_not_requested(report: Path) -> None:
    (report / "letter.txt").write_text("all is well")
    mend(report, lambda manifest: manifest["outputs"].update({"letter.txt": {}}))
    assert form_details(checked(report), False) == ["letter.txt was not requested"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda manifest: manifest["command"].pop("formats"), "does not name the formats"),
        (lambda manifest: manifest["command"].update(formats=["html", "html"]), "does not name the formats"),
        (lambda manifest: manifest["command"].update(formats=["doc"]), "does not name the formats"),
        (lambda manifest: manifest["command"].update(language="la"), "does not name the language"),
        (lambda manifest: manifest["command"].pop("language"), "does not name the language"),
        (lambda manifest: manifest["command"].update(paper=["a4"]), "the paper size"),
    ],
)  # fmt: skip
def test_manifest_without_the_options_of_its_forms_is_refused(
    report: Path, change: Callable[[Said], object], says: str
) -> None:
    mend(report, change)
    (detail,) = form_details(checked(report), False)
    assert says in detail


def test_another_release_of_what_draws_a_form_is_a_reason_not_to_compare_it(report: Path) -> None:
    """It is for a form that differs alone, and for what that library draws alone."""
    mend(report, lambda manifest: manifest["libraries"].update(typst="0.0.1"))
    assert form_details(checked(report), None) == []
    for name in ("report.pdf", "report.html"):
        raw = bytearray((report / name).read_bytes())
        raw[-20] ^= 1
        (report / name).write_bytes(raw)
    mend(report)
    verification = checked(report)
    (detail,) = form_details(verification, None)
    assert detail.startswith("report.pdf is not compared: drawn with typst 0.0.1, but this machine has typst ")
    (failed,) = form_details(verification, False)
    assert failed.startswith("report.html differs from what facts.json gives")


def test_another_release_of_the_program_makes_nothing_again(report: Path) -> None:
    (report / "report.html").write_text("other")
    mend(report)
    verification = checked(report, by="wattlens 99.0")
    assert form_details(verification, None) == [f"not recreated: {program(report)} created them, and this is wattlens 99.0"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda document: document.update(status=7), "status: "),
        (lambda document: document["conservation"].update(active_uj="many"), "conservation.active_uj: "),
        (lambda document: document["conservation"].pop("active_uj"), "conservation.active_uj: "),
        (lambda document: document.update(note="hello"), "not in the canonical form of a report"),
        (lambda document: document["conservation"].update(buckets_uj="1"), "not in the canonical form of a report"),
        (lambda document: document.pop("inputs"), "not in the canonical form of a report"),
        (lambda document: document.update(figures=[1]), "not in the canonical form of a report"),
    ],
)  # fmt: skip
def test_facts_that_no_report_states_are_named(report_folder: Path, change: Callable[[Said], object], says: str) -> None:
    facts = json.loads((report_folder / "facts.json").read_bytes())
    change(facts)
    raw = (json.dumps(facts, sort_keys=True, indent=1) + "\n").encode()
    with pytest.raises(WattlensError, match=r"^facts\.json: ") as error:
        facts_of(raw, "facts.json")
    assert says in str(error.value)


@pytest.mark.smoke
@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.update(figures=[]),
        lambda document: document.update(figures=[f for f in document["figures"] if f["id"] != "coverage"]),
        lambda document: document.update(least_coverage="much"),
        lambda document: document.update(sites={}),
        lambda document: [site.update(end_ns="9" * 19, end="never") for site in document["sites"].values()],
        lambda document: [f.update(value="0") for f in document["figures"] if f["value"]],
        lambda document: [f.update(dims={}) for f in document["figures"]],
        lambda document: [series.update(points=[], values=["1"]) for series in document["series"].values()],
        lambda document: [series.update(points=["x"], values=["y"]) for series in document["series"].values()],
    ],
)
def test_facts_of_the_right_form_that_no_ledger_gives_end_in_a_line(report: Path, change: Callable[[Said], object]) -> None:
    facts = json.loads((report / "facts.json").read_bytes())
    change(facts)
    (report / "facts.json").write_text(json.dumps(facts, sort_keys=True, indent=1) + "\n")
    mend(report)
    assert form_details(checked(report), False)


def test_facts_that_were_read_are_written_as_they_were(report_folder: Path) -> None:
    raw = (report_folder / "facts.json").read_bytes()
    assert facts_json(facts_of(raw, "facts.json")) == raw


def test_letters_of_other_scripts_are_drawn_with_the_fonts_at_hand_and_other_fonts_are_a_reason(
    report: Path, tmp_path: Path
) -> None:
    """A manifest lists fonts only if the report has such letters."""
    assert "fonts" not in json.loads((report / "manifest.json").read_bytes())["command"]
    facts = facts_of((report / "facts.json").read_bytes(), "facts.json")
    publish(facts, tmp_path / "zh", say_in("zh"), forms=("csv", "html"), command={"quarter": "2026Q3"})
    assert "fonts" not in json.loads((tmp_path / "zh" / "manifest.json").read_bytes())["command"]
    assert checked(tmp_path / "zh").ok
    mend(report, lambda manifest: manifest["command"].update(fonts="of another machine"))
    assert checked(report).ok
    raw = bytearray((report / "report.pdf").read_bytes())
    raw[-20] ^= 1
    (report / "report.pdf").write_bytes(raw)
    mend(report)
    (detail,) = form_details(checked(report), None)
    assert detail.startswith("report.pdf is not compared: it has letters in fonts that differ")
