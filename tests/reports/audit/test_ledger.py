"""Every file of the days of a report is hashed: what was changed, is gone, or never was is named."""

import hashlib
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from reports.audit.inputs import LedgerDay
from reports.audit.ledger import changed_files

NAMES = ("cell.parquet", "span.parquet")


@pytest.fixture
def days(tmp_path: Path) -> list[LedgerDay]:
    """A site of two days, of which the second was stated twice and the report was made of the first statement."""
    for folder in ("2026-07-01/r0000", "2026-07-02/r0000", "2026-07-02/r0001"):
        place = tmp_path / "fra1" / folder
        place.mkdir(parents=True)
        (place / "manifest.json").write_text("{}")
        for name in NAMES:
            (place / name).write_text(f"{folder} {name}")
    return [
        LedgerDay(
            site="fra1",
            day=day,
            statement=0,
            inputs_sha256="0" * 64,
            files={n: hashlib.sha256(f"{day}/r0000 {n}".encode()).hexdigest() for n in NAMES},
        )
        for day in ("2026-07-01", "2026-07-02")
    ]


def test_a_file_of_any_kind_that_was_changed_is_named(tmp_path: Path, days: list[LedgerDay]) -> None:
    (tmp_path / "fra1/2026-07-02/r0001/cell.parquet").write_text("of a statement that the report was not made of")
    assert changed_files(days, str(tmp_path)) == []
    (tmp_path / "fra1/2026-07-01/r0000/cell.parquet").write_text("changed")
    (tmp_path / "fra1/2026-07-02/r0000/span.parquet").unlink()
    assert changed_files(days, str(tmp_path)) == [
        "fra1/2026-07-01/r0000/cell.parquet: was changed",
        "fra1/2026-07-02/r0000/span.parquet: cannot be read",
    ]


def test_a_statement_that_is_gone_and_a_name_that_leads_elsewhere(tmp_path: Path, days: list[LedgerDay]) -> None:
    (tmp_path / "fra1/2026-07-01/r0000/manifest.json").unlink()
    days.append(LedgerDay(site="fra1", day="2026-07-02", statement=1, inputs_sha256="0" * 64, files={"../../x": "0" * 64}))
    assert changed_files(days, str(tmp_path)) == [
        "fra1/2026-07-01: statement 0 is missing",
        "fra1/2026-07-02/r0001/../../x: not a valid name of a daily file",
    ]


def test_segments_have_no_days_and_no_folder_is_wrong_usage(tmp_path: Path, days: list[LedgerDay]) -> None:
    (tmp_path / "empty").mkdir()
    assert changed_files(days, str(tmp_path / "empty")) is None
    with pytest.raises(UsageError, match="no such folder"):
        changed_files(days, str(tmp_path / "nowhere"))
