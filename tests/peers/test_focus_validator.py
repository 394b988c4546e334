"""The FinOps Foundation's focus-validator accepts focus.csv: the columns that FOCUS 1.2 has, the newest version that it ships.

It needs pandas 2, which excludes an environment with ours: WATTLENS_FOCUS_VALIDATOR names the program in one of its own (Python
3.12, as pip compiles its dependencies on 3.13; `pip install focus-validator`).
"""

import csv
import io
import subprocess
from pathlib import Path

import pytest

from reports.period import PeriodRequest
from reports.render.focus import focus_csv
from tests.reports import chains, golden
from tests.support import need_environment

pytestmark = pytest.mark.peer
VERSION = "1.2.0.1"
UNCONDITIONAL = {"InvoiceId-C-005-C"}
"""InvoiceId must not be null where a charge has an invoice. The validator drops that condition, and that of the opposite rule
C-004-C, so that each row breaks one of them; C-003-C, which asks for either, must pass. The charges here have no invoice."""


def test_focus_validator_finds_no_violation(tmp_path: Path) -> None:
    program = need_environment("WATTLENS_FOCUS_VALIDATOR", "the program focus-validator")
    facts = chains.facts(golden.days(tmp_path / "golden"), golden.organisation(), PeriodRequest("2026Q3"))
    rows = list(csv.DictReader(io.StringIO(focus_csv(facts))))
    former = {"ProviderName": "ServiceProviderName", "PublisherName": "HostProviderName"}  # renamed in 1.3
    path = tmp_path / "focus.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*(c for c in rows[0] if c not in former.values()), *former], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(row | {old: row[new] for old, new in former.items()} for row in rows)
    python = Path(program).parent / "python"
    ask = "import focus_validator, pathlib; print(pathlib.Path(focus_validator.__file__).parents[1])"
    folder = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    words = ["--data-file", path, "--validate-version", VERSION, "--block-download", "--focus-dataset", "CostAndUsage"]
    # It opens its list of currencies relative to the folder that it is installed in.
    reply = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, check=False)
    summary = next((line for line in reply.stdout.splitlines() if line.startswith("Total:")), reply.stderr[-2000:])
    assert summary.startswith("Total:"), summary
    failures = reply.stdout.partition("--- Failures ---")[2].splitlines()
    assert {line[2:].partition(":")[0] for line in failures if line.startswith("- ")} <= UNCONDITIONAL, reply.stdout[-4000:]
