"""`wattlens usage` gives the same statement of the same energy, from segments and from the compacted days of a fleet."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from benchmarks import sample_fleet
from energy_agent.core.energy import REQUEST
from energy_agent.core.errors import WattlensError
from energy_agent.core.units import NS_PER_DAY, UJ_PER_KWH
from energy_agent.ledger.rows.kinds import CELL_NS
from tests.reports import ledgers
from tests.reports.ledger import sql_days
from tests.wattlens.usage.statements import read_days, read_usage
from wattlens.cli import main
from wattlens.report.inputs.org import load_organisation
from wattlens.usage.statement import NO_TOKENS, GroupBy, RowKind

FIRST_NS = sample_fleet.FIRST_NS
WHOLE = (FIRST_NS, FIRST_NS + 3 * NS_PER_DAY)
CUT = (FIRST_NS + 33 * CELL_NS, FIRST_NS + 2 * NS_PER_DAY + 71 * CELL_NS)
ORG = Path(__file__).parents[3] / "deploy/examples/report/org.yaml"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Segments of four nodes; the same as days of one site, and as days of the sites of the inventory."""
    folder = tmp_path_factory.mktemp("fleet")
    with pytest.MonkeyPatch.context() as patch:
        sql_days.make(folder, patch)
        words = ["ledger", "compact", "--out", f"{folder}/one", "--site", "one", str(folder / "segments")]
        assert main(words) == 0
        yield folder


@pytest.mark.smoke
@pytest.mark.parametrize("by", GroupBy)
@pytest.mark.parametrize("period", [WHOLE, CUT], ids=["whole", "cut"])
def test_segments_and_days_give_the_same_statement(fleet, by, period):
    rows = read_usage(fleet / "segments", by, *period)
    days = read_days(str(fleet / "one"), by, *period)
    assert replace(days, scope=replace(days.scope, source=rows.scope.source)) == rows
    assert rows.scope.whole_nodes
    assert len(rows.rows) >= 2


@pytest.mark.smoke
def test_the_total_of_a_fleet_does_not_depend_on_grouping_or_site(fleet):
    totals = [read_days(str(fleet / "days"), by, *WHOLE).total for by in GroupBy]
    assert all(total == totals[0] for total in totals)
    assert totals[0].energy.energy_uj == read_usage(fleet / "segments", GroupBy.TEAM, *WHOLE).total.energy.energy_uj


def test_segments_are_compacted_where_an_organisation_is_given(fleet):
    organisation = load_organisation(ORG, *WHOLE, WHOLE[1])
    days = read_days(str(fleet / "days"), GroupBy.TEAM, *WHOLE, organisation)
    assert read_days(str(fleet / "segments"), GroupBy.TEAM, *WHOLE, organisation).rows == days.rows


def test_cost_and_co2e_by_tariffs_and_factors_sum_to_the_total(fleet):
    shutil.copytree(fleet / "days/pnq1", fleet / "asia/pnq1")  # the site whose factor is a yearly one
    usage = read_days(str(fleet / "asia"), GroupBy.TEAM, *WHOLE, load_organisation(ORG, *WHOLE, WHOLE[1]))
    assert usage.currency == "EUR"
    assert sum(row.cost.value for row in usage.rows) == usage.total.cost.value
    assert sum(row.carbon.value for row in usage.rows) == usage.total.carbon.value
    kwh = Fraction(usage.total.energy.energy_uj, UJ_PER_KWH)
    assert 0.05 < usage.total.cost.value / kwh < 0.5
    for row in (*usage.rows, usage.total):  # org.yaml has one price for that site, factors/example_in.csv one factor
        assert row.cost.value == Fraction(row.energy.energy_uj, UJ_PER_KWH) * Fraction("0.092")
        assert row.carbon.value == Fraction(row.energy.energy_uj, UJ_PER_KWH) * 715
    assert usage.total.carbon.value / kwh == next(row.carbon.value * UJ_PER_KWH / row.energy.energy_uj for row in usage.rows)


def test_what_one_site_lacks_the_total_lacks(fleet):
    base = load_organisation(ORG, *WHOLE, WHOLE[1])
    frankfurt = replace(base.sites["fra1"], location=(), location_lacking="no factor")
    organisation = replace(base, sites={**base.sites, "fra1": frankfurt})
    usage = read_days(str(fleet / "days"), GroupBy.TEAM, *WHOLE, organisation)
    without_carbon = {row.key.name for row in usage.rows if row.carbon.value is None}
    assert "language" not in without_carbon
    assert usage.total.carbon.value is None
    assert "kWh have no grid factor" in usage.total.carbon.reason


def test_a_period_without_energy_names_what_the_fleet_holds(fleet):
    with pytest.raises(WattlensError, match="the ledger has readings from 2026-03-31T00:00:00Z to 2026-04-03T00:00:00Z"):
        read_days(str(fleet / "days"), GroupBy.TEAM, FIRST_NS - 9 * NS_PER_DAY, FIRST_NS - 8 * NS_PER_DAY)


def test_one_price_replaces_the_tariffs_of_the_organisation(fleet, capsys):
    words = ["usage", str(fleet / "days"), "--from", "2026-03-31", "--to", "2026-04-03", "--org", str(ORG), "--json"]
    assert main([*words, "--price", "0.1USD/kWh"]) == 0
    usage = json.loads(capsys.readouterr().out)
    assert usage["total"]["cost"] == pytest.approx(usage["total"]["energy_kwh"] * 0.1, rel=1e-8)
    assert {row["currency"] for row in (*usage["rows"], usage["total"])} == {"USD"}
    assert "price 0.1 USD/kWh" in usage["basis"]
    assert not any("tariffs" in line for line in usage["basis"])


def test_a_table_by_gpu_is_no_longer_than_its_rows(fleet, capsys):
    words = ["usage", str(fleet / "segments"), "--from", "2026-03-31", "--to", "2026-04-03", "--by", "gpu", "--rows", "2"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("GPU "))
    names = [line.split("  ")[0] for line in lines[at + 1 : lines.index("", at)]]
    assert names == ["gpu-a1 without GPUs", "gpu-p1 without GPUs", "13 others", "total"]  # 12 GPUs and 3 nodes


def test_nodes_are_the_sums_of_their_devices(fleet, capsys):
    def rows_by(source: str, by: str) -> list[dict]:
        assert main(["usage", str(fleet / source), "--from", "2026-03-31", "--to", "2026-04-03", "--by", by, "--json"]) == 0
        return json.loads(capsys.readouterr().out)["rows"]

    expected: dict[str, list[int]] = {}
    names = ("energy_uj", "idle_uj", "unallocated_uj")
    for row in rows_by("days", "gpu"):
        sums = expected.setdefault(row["name"].split()[0], [0, 0, 0])
        sums[:] = [a + int(row[name]) for a, name in zip(sums, names, strict=True)]
    for source in ("days", "segments"):
        nodes = {row["name"]: [int(row[name]) for name in names] for row in rows_by(source, "node")}
        assert nodes == expected
        assert len(nodes) == 3


def test_the_command_reads_days_and_organisation(fleet, capsys):
    page = (Path(__file__).parents[3] / "docs/usage.md").read_text()
    command = next(line for line in page.splitlines() if line.startswith("wattlens usage /srv"))
    places = {"/srv/wattlens/days": str(fleet / "days"), "org.xlsx": str(ORG)}
    assert main([places.get(word, word) for word in command.split()[1:]]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name}" in printed for name in ("assistants", RowKind.UNALLOCATED, RowKind.TOTAL))
    assert "building overhead not included" in printed


def test_requests_are_no_tokens(tmp_path, monkeypatch):
    """A server that generates nothing, such as one of embeddings, still counts requests."""
    monkeypatch.setattr(ledgers, "batch", lambda at_s, batch=ledgers.batch: replace(batch(at_s), tokens=[
        replace(each, phase=REQUEST) for each in batch(at_s).tokens if each.phase == "generation"
    ]))  # fmt: skip
    ledgers.write(tmp_path)
    assert main(["ledger", "compact", "--out", f"{tmp_path}/days", "--site", "one", str(tmp_path / "segments")]) == 0
    day = (ledgers.START_NS // NS_PER_DAY * NS_PER_DAY, (ledgers.START_NS // NS_PER_DAY + 1) * NS_PER_DAY)
    for usage in (
        read_usage(tmp_path / "segments", GroupBy.WORKLOAD, *day),
        read_days(f"{tmp_path}/days", GroupBy.WORKLOAD, *day),
    ):
        assert "chat" in {row.key.name for row in usage.rows}
        assert {(*row.tokens, row.no_tokens) for row in (*usage.rows, usage.total)} == {(NO_TOKENS,)}
