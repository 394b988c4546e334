"""Facts as an auditor reads them: typed, refused where they are not sound, and never other than their manifest says."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.text import printable
from reports.audit.edition import edition_of, read_edition
from reports.inputs.records import TeamRule
from tests.reports.audit import editions
from tests.reports.audit.editions import document, figure_of, make_edition


def test_a_folder_with_its_manifest_a_folder_without_and_a_file(tmp_path: Path) -> None:
    editions.write(tmp_path)
    whole = read_edition(tmp_path)
    assert (whole.program, whole.command) == ("wattlens 1.0.0", {"quarter": "2026Q3", "ledger": "ledger"})
    alone = read_edition(tmp_path / "facts.json")
    (tmp_path / "manifest.json").unlink()
    assert (alone.program, alone.command) == (read_edition(tmp_path).program, None) == (None, None)
    assert whole.sha256 == alone.sha256 == editions.sha256(document())
    assert alone.figures["energy.facility"].figure.low == Fraction(2900)


def test_facts_that_are_not_those_of_the_manifest_are_not_explained_but_refused(tmp_path: Path) -> None:
    editions.write(tmp_path)
    (tmp_path / "facts.json").write_bytes(editions.raw(editions.late_and_revised()))
    with pytest.raises(
        WattlensError, match=r"facts\.json: its hash differs from the one in the manifest; see wattlens report verify"
    ):
        read_edition(tmp_path)


def test_what_is_to_be_restated(tmp_path: Path) -> None:
    editions.write(tmp_path / "r0")
    editions.write(tmp_path / "r1", editions.late_and_revised())
    assert edition_of(tmp_path / "r0", label="2026Q3", organisation="Example") == (0, editions.sha256(document()))
    assert edition_of(tmp_path / "r1") == (1, editions.sha256(editions.late_and_revised()))
    with pytest.raises(UsageError, match="is the report of 2026Q3; expected the report of 2026Q4"):
        edition_of(tmp_path / "r0", label="2026Q4")
    with pytest.raises(UsageError, match="of another organisation"):
        edition_of(tmp_path / "r0", organisation="Other")
    with pytest.raises(UsageError, match="nothing-here: no such file or folder"):
        edition_of(tmp_path / "nothing-here")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: f.update(schema="wattlens.report.facts/1"), "schema: Input should be 'wattlens.report.facts/2'"),
        (lambda f: f["figures"].append(f["figures"][0]), "figures: duplicate 'energy.facility'"),
        (lambda f: f["figures"][0].pop("unit"), "figures[0].unit: Field required"),
        (lambda f: f["figures"][0].update(value=3000), "figures[0].value: expected a decimal number"),
        (lambda f: f["figures"][0].update(value="3e999999999"), "figures[0].value: expected a decimal number"),
        (lambda f: f["figures"][0].update(value="nan"), "figures[0].value: expected a decimal number"),
        (lambda f: f["figures"][0].update(low="1" * 100), "figures[0].low: expected a decimal number"),
        (lambda f: f["figures"][0].update(value=None), "figures[0]: expected either a value or the reason"),
        (lambda f: f["figures"][0].update(reason="both"), "figures[0]: expected either a value or the reason"),
        (lambda f: f["figures"][0].update(id="x\x1b]0;y\x07"), "figures[0].id: expected a printable text"),
        (lambda f: f["figures"][0].update(factor_ids="deu"), "figures[0].factor_ids: Input should be a valid tuple"),
        (lambda f: f["sites"]["fra1"].update(start_ns=1), "sites.fra1.start_ns: expected an instant"),
        (lambda f: f["sites"]["fra1"].update(end_ns="\u0661"), "sites.fra1.end_ns: expected an instant"),
        (lambda f: f["factors"][0].pop("sha256"), "factors[0].sha256: Field required"),
        (lambda f: f.pop("inputs"), "inputs: Field required"),
        (lambda f: f.update(edition=-1), "edition: Input should be greater"),
    ],
)
def test_invalid_facts_are_refused_in_one_line(change: Any, says: str) -> None:
    facts = document()
    facts["figures"] = [figure_of(facts, "energy.facility")]
    change(facts)
    with pytest.raises(WattlensError) as caught:
        make_edition(facts)
    assert str(caught.value).startswith(f"facts.json: {says}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.update(figures=[figure_of(f, "energy.facility") | {"unit": 0}] * 1000),
        lambda f: f.update(factors=[0] * 1000),
        lambda f: f["inputs"].update(days=[0] * 1000),
        lambda f: f["inputs"].update(files=[0] * 1000),
        lambda f: f["figures"][0].update(sources=[0] * 1000),
        lambda f: f["figures"][0].update(dims={str(n): 0 for n in range(1000)}),
        lambda f: f["inputs"]["days"][0].update(files={str(n): 0 for n in range(1000)}),
        lambda f: f.update(sites={str(n): 0 for n in range(1000)}),
    ],
)
def test_a_thousand_wrong_items_are_one_error(change: Any) -> None:
    """Each error takes a kilobyte, and a hostile file of 256 MiB has a hundred million."""
    facts = document()
    change(facts)
    with pytest.raises(WattlensError) as caught:
        make_edition(facts)
    error = caught.value.__context__
    assert isinstance(error, ValidationError)
    assert error.error_count() == 1


@given(st.text() | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Co", "Cn"])))
def test_every_text_that_inputs_may_have_is_read_again(text: str) -> None:
    """The rule is one: a text that the inputs accept, and a name as the ledger's reader returns it, are those of an edition."""
    for name in {printable(text)} | ({text} if is_accepted(text) else set()):
        facts = document()
        facts["figures"] = [figure_of(facts, "energy.facility") | {"id": f"energy.gpu/team/{name}", "dims": {"team": name}}]
        assert list(make_edition(facts).figures) == [f"energy.gpu/team/{name}"]


def is_accepted(text: str) -> bool:
    try:
        return bool(TeamRule(match={"namespace": "*"}, team=text, project="p"))
    except ValidationError:
        return False
