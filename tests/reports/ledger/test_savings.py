"""What steering saved, from rows of the ledger: by hand computation of two groups over months, a quarter and other periods."""

import json
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.energy import State, WorkloadFacts
from energy_agent.core.proof import Analysis, PairedBlocks
from energy_agent.ledger import chain, reading
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.journal.journal import Journal
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from energy_agent.ledger.segments import segment
from reports.figures.facts import Facts
from reports.figures.figure import plain
from reports.inputs.organisation import Organisation, SiteInputs
from reports.ledger.savings import CLAIMS_MORE, MISSING_ROWS, NO_INTERVAL
from reports.period import PeriodRequest
from tests.reports import chains, ledgers
from tests.reports.chains import S
from tests.reports.golden import at, cells
from wattlens.cli import main

J = 1_000_000
TOO_FEW = "needs at least 3 pairs with work at matched load"
SERVE, TRAIN = at("2026-07-02"), at("2026-08-05")
ANY = Organisation(least_coverage=Fraction(0))


def analysis(
    when: str, group: str, since_ns: int, number: int, saved: tuple[int, int, int], claimed: int, lost: int = 0,
    slower: tuple[int, int, int] = (0, 0, 0), reason: str = "",
) -> Analysis:  # fmt: skip
    """Energy in J, (estimate, lower end, upper end); slowdown in ppm."""
    value, low, high = (joules * J for joules in saved)
    return Analysis(
        at(when), group, "job", "static", since_ns, number, 0 if reason else 12 * number, 0, 12_500_000, 9000 * J, value, low,
        high, claimed * J, lost * J, *slower, "" if reason else "latency", reason,
    )  # fmt: skip


def pair(when: str, group: str, since_ns: int, number: int, excluded: str = "") -> PairedBlocks:
    blocks = (90 * J, 1000, 26 * S, 20 * J, 1000), (100 * J, 1010, 26 * S, 19 * J, 1010)
    return PairedBlocks(
        at(when), group, "job", "static", since_ns, number, 9000 * J, *blocks[0], *blocks[1], "closed", excluded
    )


ROWS = (
    analysis("2026-07-20T09:00", "serve", SERVE, 1, (100, 40, 160), 40),
    analysis("2026-08-10T09:00", "serve", SERVE, 2, (210, 150, 270), 110, slower=(9_000, 4_000, 14_000)),
    analysis("2026-09-20T09:00", "serve", SERVE, 3, (180, 90, 270), -60, slower=(8_000, 4_000, 12_000)),
    # The first round of the next quarter closes the experiment.
    analysis("2026-10-01T00:00:02", "serve", SERVE, 4, (190, 100, 280), 10, slower=(7_000, -4_000, 18_000)),
    analysis("2026-08-15T12:00", "train", TRAIN, 1, (0, 0, 0), 0, reason=TOO_FEW),
    analysis("2026-08-25T12:00", "train", TRAIN, 2, (-50, -90, -10), 0, 50, slower=(30_000, 10_000, 50_000)),
    analysis("2026-09-10T12:00", "train", TRAIN, 3, (-20, -80, 40), 0, -30, slower=(5_000, -10_000, 20_000)),
)
PAIRS = (
    pair("2026-07-20T09:00", "serve", SERVE, 0),
    pair("2026-08-10T09:00", "serve", SERVE, 1, "no work ended in a block"),
    pair("2026-08-25T12:00", "train", TRAIN, 0),
)
POWERED = ("2026-06-20", "2026-07-20", "2026-08-20", "2026-09-30", "2026-10-20")


def days(folder: Path, rows: Iterable[object], node: str = "n1", site: str = "here") -> Path:
    """Compacted days: a GPU that draws 1 kWh in an hour of each month, and these rows, a segment each."""
    metadata = Batch(
        devices=[DeviceFacts(f"GPU-{node}", "H100", 0.02, at("2026-04-01"))],
        facts=[WorkloadFacts("job", at("2026-04-01"), "pod")],
    )
    energy = [Batch(cells(at(day), f"GPU-{node}", "job", State.ACTIVE, ["0.49"] * 4)) for day in POWERED]
    chains.write(folder / "segments", "lab", node, [metadata, *energy, *(Batch(rows=[row]) for row in rows)])
    return chains.compacted(folder / "segments", folder / "days", Sites({}, site))


def saving_values(facts: Facts, place: str = "") -> tuple[str | None, ...]:
    """Saved with its bounds, claimed and lost."""
    saved = facts.figures[f"dvfs.saved{place}"]
    others = (facts.figures[f"dvfs.{name}{place}"].value for name in ("claimed", "lost"))
    return tuple(plain(value) or None for value in (saved.value, saved.low, saved.high, *others))


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return days(tmp_path_factory.mktemp("savings"), [*ROWS, *PAIRS])


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("asked", "whole", "serve", "train"),
    [
        # The whole quarter holds both experiments: the last analysis of each. 190 - 20, 100 - 80, 280 + 40;
        # 40 + 110 - 60 + 10; 50 - 30.
        (
            PeriodRequest("2026Q3"),
            ("170", "20", "320", "100", "20"),
            ("190", "100", "280", "100", "0"),
            ("-20", "-80", "40", "0", "20"),
        ),
        (PeriodRequest(None, "2026-07-01", "2026-08-01"), ("100", "40", "160", "40", "0"), ("100", "40", "160", "40", "0"),
        None),
        # August: 210 - 100; 150 - 160 and 270 - 40, as both intervals hold what is true of them.
        (
            PeriodRequest(None, "2026-08-01", "2026-09-01"),
            ("60", "-100", "220", "110", "50"),
            ("110", "-10", "230", "110", "0"),
            ("-50", "-90", "-10", "0", "50"),
        ),
        # September: the claim falls by 60 and rises by 10, by the analysis that was written in October.
        (
            PeriodRequest(None, "2026-09-01", "2026-10-01"),
            ("10", "-240", "260", "-50", "-30"),
            ("-20", "-170", "130", "-50", "0"),
            ("30", "-70", "130", "0", "-30"),
        ),
        # Four weeks without an analysis of `serve`; no analysis of `train` before them.
        (
            PeriodRequest(None, "2026-08-15", "2026-09-15"),
            ("-20", "-80", "40", "0", "20"),
            None,
            ("-20", "-80", "40", "0", "20"),
        ),
        (PeriodRequest(), ("170", "20", "320", "100", "20"), ("190", "100", "280", "100", "0"), ("-20", "-80", "40", "0",
        "20")),
    ],
    ids=lambda value: f"{value.quarter or value.start}" if isinstance(value, PeriodRequest) else "",
)  # fmt: skip
def test_a_period_has_what_its_analyses_add(
    ledger: Path, asked: PeriodRequest, whole: tuple[str, ...], serve: tuple[str, ...] | None, train: tuple[str, ...] | None
) -> None:
    facts = chains.facts(ledger, ANY, asked)
    assert saving_values(facts) == whole
    assert saving_values(facts, "/site/here") == whole
    for group, expected in (("serve", serve), ("train", train)):
        place = f"/group/here/{group}"
        assert (saving_values(facts, place) if f"dvfs.saved{place}" in facts.figures else None) == expected
    assert facts.figures["dvfs.saved"].sources == ("ledger",)


def test_the_slowdown_is_that_of_the_slowest_group_now(ledger: Path) -> None:
    """Of the last analyses: 0.7 % of `serve` and 0.5 % of `train`, whatever they were before."""
    facts = chains.facts(ledger, ANY, PeriodRequest("2026Q3"))
    slowdown = facts.figures["dvfs.slowdown"]
    assert (*map(plain, (slowdown.value, slowdown.low, slowdown.high)), slowdown.dims["of"]) == (
        "0.007",
        "-0.004",
        "0.018",
        "latency",
    )
    assert facts.figures["dvfs.slowdown/group/here/train"].text == "0.005"


def test_pairs_are_counted_with_why_they_are_not_used(ledger: Path) -> None:
    facts = chains.facts(ledger, ANY, PeriodRequest("2026Q3"))
    counts = {name: figure.text for name, figure in facts.figures.items() if name.startswith("dvfs.pairs")}
    assert counts == {
        "dvfs.pairs": "2",
        "dvfs.pairs.excluded": "1",
        "dvfs.pairs.excluded/why/no work ended in a block": "1",
    }


def test_what_closes_an_experiment_is_not_in_the_quarter_after(ledger: Path) -> None:
    facts = chains.facts(ledger, ANY, PeriodRequest("2026Q4"))
    for name in ("saved", "claimed", "lost", "slowdown"):
        figure = facts.figures[f"dvfs.{name}"]
        assert (figure.value, figure.reason) == (None, "no analysis of paired blocks in the period")


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/Los_Angeles"])
def test_a_quarter_of_savings_is_that_of_utc_at_every_site(ledger: Path, zone: str) -> None:
    """A quarter's energy is from local midnight on; an experiment has one quarter, wherever it stands."""
    organisation = replace(ANY, sites={"here": SiteInputs("here", ZoneInfo(zone))})
    assert saving_values(chains.facts(ledger, organisation, PeriodRequest("2026Q3"))) == ("170", "20", "320", "100", "20")


@pytest.mark.smoke
def test_two_quarters_have_two_experiments_of_a_group(tmp_path: Path) -> None:
    june, july = at("2026-06-01"), at("2026-07-01T00:00:02")
    rows = [
        analysis("2026-06-10", "serve", june, 1, (70, 30, 110), 30),
        analysis("2026-07-01T00:00:02", "serve", june, 2, (80, 50, 110), 20),
        analysis("2026-07-25", "serve", july, 1, (9, 5, 13), 5),
    ]
    days_dir = days(tmp_path, rows)
    assert saving_values(chains.facts(days_dir, ANY, PeriodRequest("2026Q2"))) == ("80", "50", "110", "50", "0")
    assert saving_values(chains.facts(days_dir, ANY, PeriodRequest("2026Q3"))) == ("9", "5", "13", "5", "0")
    # 80 - 70 and 9; 50 - 110 + 5; 110 - 30 + 13; 20 + 5
    rolling = chains.facts(days_dir, ANY, PeriodRequest(None, "2026-06-20", "2026-08-01"))
    assert saving_values(rolling, "/group/here/serve") == saving_values(rolling) == ("19", "-55", "93", "25", "0")


@pytest.mark.smoke
def test_groups_of_two_nodes_and_sites_are_distinguished(tmp_path: Path) -> None:
    """The same names at the same time: of two nodes at a site they are one row, of another site another."""
    one, other = analysis("2026-07-20", "g", SERVE, 1, (5, 3, 7), 3), analysis("2026-07-20", "g", SERVE, 1, (4, -1, 9), 0)
    for node, row in (("n1", one), ("n2", other), ("n3", other)):
        days(tmp_path / node, [row], node)
        for path in (tmp_path / node / "segments").iterdir():
            (tmp_path / "segments").mkdir(exist_ok=True)
            path.rename(tmp_path / "segments" / path.name)
    stays = Organisation(sites={n: SiteInputs(n, ZoneInfo("UTC")) for n in ("here", "there")}, least_coverage=Fraction(0))
    inventory = tmp_path / "inventory.csv"
    lines = [f"lab,n{n},GPU-n{n},H100,{'there' if n == 3 else 'here'},," for n in (1, 2, 3)]
    inventory.write_text("\n".join(["cluster,node,uuid,sku,site,from,to", *lines, ""]))
    words = ["ledger", "compact", tmp_path / "segments", "--out", tmp_path / "days", "--inventory", inventory]
    assert main([str(word) for word in words]) == 0
    facts = chains.facts(tmp_path / "days", stays, PeriodRequest("2026Q3"))
    assert saving_values(facts, "/group/here/g") == ("9", "2", "16", "3", "0")
    assert saving_values(facts, "/group/there/g") == ("4", "-1", "9", "0", "0")
    assert saving_values(facts) == ("13", "1", "25", "3", "0")


UNPROVEN = {
    "few pairs": ([ROWS[4]], TOO_FEW),
    "one is missing": ([ROWS[0], ROWS[2]], MISSING_ROWS),
    "the first is missing": ([ROWS[1]], MISSING_ROWS),
    "one twice": ([ROWS[0], replace(ROWS[0], t_ns=ROWS[0].t_ns + S)], MISSING_ROWS),
    "interval without estimate": ([replace(ROWS[0], low_uj=101 * J)], NO_INTERVAL),
    "slowdown without estimate": ([replace(ROWS[0], slowdown_high_ppm=-1)], NO_INTERVAL),
    "more than proven": ([replace(ROWS[0], claimed_uj=40 * J + 1)], CLAIMS_MORE),
    "past int64": ([replace(ROWS[0], claimed_uj=INT64_MAX), replace(ROWS[1], claimed_uj=INT64_MAX)], CLAIMS_MORE),
    "a loss": ([replace(ROWS[0], saved_uj=-J, low_uj=-INT64_MAX, high_uj=INT64_MAX, claimed_uj=1)], CLAIMS_MORE),
}


def test_what_does_not_prove_it_has_its_reason(tmp_path: Path) -> None:
    """Each group has its own, and all have those of groups with an estimate."""
    rows = [replace(row, group=group) for group, (told_rows, _) in UNPROVEN.items() for row in told_rows]
    facts = chains.facts(days(tmp_path, rows), ANY, PeriodRequest("2026Q3"))
    for group, (_, reason) in UNPROVEN.items():
        assert saving_values(facts, f"/group/here/{group}") == (None,) * 5
        assert facts.figures[f"dvfs.claimed/group/here/{group}"].reason == reason
    assert saving_values(facts) == (None,) * 5
    assert facts.figures["dvfs.claimed"].reason == f"{NO_INTERVAL}; {MISSING_ROWS}; {CLAIMS_MORE}"


def test_an_estimate_that_is_there_outlives_an_analysis_without_one(tmp_path: Path) -> None:
    """What was proven before still holds."""
    rows = [ROWS[0], replace(ROWS[4], group="serve", since_ns=SERVE, number=2)]
    assert saving_values(chains.facts(days(tmp_path, rows), ANY, PeriodRequest("2026Q3"))) == ("100", "40", "160", "40", "0")


@pytest.mark.smoke
def test_names_are_hostile(tmp_path: Path) -> None:
    """Of groups and reasons: they are shown as text, and run nothing."""
    evil = "</td><script>alert(1)</script>'\"; DROP TABLE file; --\u202e/../x"
    rows = [replace(ROWS[0], group=evil, workload=evil), replace(PAIRS[1], excluded=evil)]
    days_dir = days(tmp_path, rows)
    assert saving_values(
        chains.facts(days_dir, ANY, PeriodRequest("2026Q3")), f"/group/here/{evil.replace(chr(0x202E), '?')}"
    ) == (
        "100",
        "40",
        "160",
        "40",
        "0",
    )
    words = ["report", "--ledger", days_dir, "--quarter", "2026Q3", "--accept-coverage", "0", "--out", tmp_path / "out"]
    assert main([*map(str, words), "--formats", "html"]) == 0
    page = (tmp_path / "out/report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_a_faulty_node_proves_nothing(tmp_path: Path) -> None:
    """Its rows of the day are left out as its energy is."""
    days(tmp_path, ROWS[:1])
    days(tmp_path, [], "n2")
    (last,) = [path for path in segment.list_files(tmp_path / "segments") if ROWS[0] in segment.read(path).rows]
    last.write_bytes(last.read_bytes()[:-20])
    again = tmp_path / "again"
    words = ["ledger", "compact", tmp_path / "segments", "--out", again, "--site", "here"]
    assert main([str(word) for word in words]) == 1
    figure = chains.facts(again, ANY, PeriodRequest("2026Q3")).figures["dvfs.saved"]
    assert (figure.value, figure.reason) == (None, "no analysis of paired blocks in the period")


def test_rows_go_from_the_journal_to_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Journal, segment, verification, compaction, export and report, with values below 0."""
    loss = analysis("2026-07-01T00:05", "serve", at("2026-07-01"), 1, (-7, -9, -5), 0, 7, slower=(-3, -5, -1))
    lower = replace(loss, t_ns=loss.t_ns + 60 * S, number=2, saved_uj=-1, low_uj=-2, high_uj=1, lost_uj=1 - 7 * J)
    rows = [loss, pair("2026-07-01T00:05", "serve", at("2026-07-01"), 0), lower]
    state = tmp_path / "state"
    ledgers.write(state)
    journal = Journal.open(state / "journal.db", ledgers.identity(), utc_ns=lambda: at("2026-07-01T00:10"))
    journal.commit(Batch(rows=rows[:2]))
    journal.seal(None)
    journal.commit(Batch(rows=rows[2:]))
    assert [item.row for item in reading.read_rows(state) if isinstance(item.row, Analysis)] == [loss, lower]
    journal.seal(None)
    journal.close()
    assert chain.verify([state / "segments"], read_journal(state / "journal.db")).ok
    chains.compacted(state / "segments", tmp_path / "days", Sites({}, "here"))
    for source in (state, state / "segments", tmp_path / "days"):
        kept = [item.row for item in reading.read_rows(source) if isinstance(item.row, Analysis | PairedBlocks)]
        assert sorted(kept, key=repr) == sorted(rows, key=repr)
        capsys.readouterr()
        assert main(["ledger", "export", str(source), "--analyses", "--json"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [(line["number"], line["saved_uj"], line["lost_uj"], line["slowdown_low_ppm"]) for line in lines] == [
            (1, -7 * J, 7 * J, -5),
            (2, -1, 1 - 7 * J, -5),
        ]
        assert main(["ledger", "export", str(source), "--pairs", "--json"]) == 0
        (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert (line["group"], line["treatment_uj"], line["control_itl_count"]) == ("serve", 90 * J, 1010)
    facts = chains.facts(tmp_path / "days", ANY, PeriodRequest("2026Q3"))
    assert saving_values(facts) == ("-0.000001", "-0.000002", "0.000001", "0", "0.000001")


LATE = "2026-11-03T08:00"


def reported(folder: Path, ledger: Path, *words: str) -> int:
    given = ["report", "--ledger", ledger, "--quarter", "2026Q3", "--accept-coverage", "0", "--formats", "csv", "--out", folder]
    return main([*map(str, given), "--as-of", "2026-12-01", *words])


@pytest.mark.smoke
def test_an_agent_that_was_down_restates_the_quarter_when_it_is_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its closing analysis, of November, is of the third quarter; `report diff` lists it, and both can be verified."""
    before = days(tmp_path / "before", [*ROWS[:3], *ROWS[4:]])
    after = days(tmp_path / "after", [*ROWS[:3], *ROWS[4:], replace(ROWS[3], t_ns=at(LATE))])
    one, two = tmp_path / "one", tmp_path / "two"
    assert reported(one, before) == 0
    assert reported(two, after, "--restates", str(one), "--reason", "corrected data") == 0
    for folder, ledger, claimed in ((one, before, "90"), (two, after, "100")):
        facts = json.loads((folder / "facts.json").read_text())
        assert {f["id"]: f["value"] for f in facts["figures"]}["dvfs.claimed"] == claimed
        assert ("2026-11-03" in {day["day"] for day in facts["inputs"]["days"]}) is (ledger is after)
        assert main(["report", "verify", str(folder), "--ledger", str(ledger)]) == 0
    capsys.readouterr()
    assert main(["report", "diff", str(one), str(two), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(each["kind"], each["name"]) for each in document["inputs"]] == [("day", "here 2026-11-03")]
    names = {change["id"] for change in document["changes"]}
    assert "dvfs.claimed" in names
    assert {name for name in names if not name.startswith("dvfs.")} == set()
