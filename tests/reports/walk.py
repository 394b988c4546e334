"""A plain walk over the rows of a random fleet: which are in a period, and whose they are. No SQL, no Parquet, no day sums."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from energy_agent.core.boundary import is_gpu
from energy_agent.core.energy import WorkloadFacts
from energy_agent.core.errors import WattlensError
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary
from energy_agent.factors.join import IntensitySource
from energy_agent.factors.series import Piece
from energy_agent.ledger.rows.kinds import INT64_MAX, Cell, EdgeRow, GapRow, Row, TokenRow
from energy_agent.ledger.segments import segment
from reports.figures.evidence import PeriodEvidence
from reports.figures.facts import Facts, build_facts
from reports.figures.measures import all_figures
from reports.inputs.organisation import ExpectedDevice, Organisation, SiteInputs
from reports.inputs.records import ModelName
from reports.inputs.tariffs import HourlyPrice, Tariff
from reports.period import PeriodRequest, from_quarter
from tests.reports import chains
from tests.reports.chains import DAY, HOUR
from tests.reports.random_fleet import DAYS, FIRST, SITE_OF, Fleet, fleet

ZONES = ("UTC", "Asia/Kolkata", "America/Los_Angeles", "Australia/Lord_Howe", "Pacific/Chatham")
Name = tuple[str, str, str]
"""Cluster, node, workload."""


@dataclass
class Told:
    """One row inside its site's period, with the known owner of its workload."""

    site: str
    cluster: str
    node: str
    row: Row
    who: dict[str, str]


@dataclass
class Walk:
    """All of them."""

    rows: list[Told] = field(default_factory=list)
    order: list[Row] = field(default_factory=list)

    def cells(self, kind: Callable[[str], bool] = is_gpu) -> Iterator[tuple[Told, Cell]]:
        """Cells of one kind of device."""
        for entry in self.rows:
            if isinstance(entry.row, Cell) and kind(entry.row.device):
                yield entry, entry.row


def walk(fleet_data: Fleet, windows: dict[str, tuple[int, int]], models: dict[str, ModelName]) -> Walk:
    """Every row of the segments that lies in the period, with whose it is."""
    result = Walk()
    served: dict[Name, set[str]] = defaultdict(set)
    facts_by_day: dict[Name, dict[int, list[WorkloadFacts]]] = defaultdict(lambda: defaultdict(list))
    inside: list[tuple[str, str, str, Row]] = []
    for (cluster, node), paths in fleet_data.segments.items():
        site = SITE_OF[cluster, node]
        start, end = windows[site]
        for path in paths:
            rows = segment.read(path).rows
            facts = [row for row in rows if isinstance(row, WorkloadFacts)]
            for row in rows:
                at = getattr(row, "cell_start_ns", getattr(row, "t_ns", None))
                if at is None:
                    result.order.append(row)
                    continue
                day = at - at % DAY
                for fact in facts:
                    if (
                        fact.workload == getattr(row, "workload", None)
                        and fact not in facts_by_day[cluster, node, fact.workload][day]
                    ):
                        facts_by_day[cluster, node, fact.workload][day].append(fact)
                if not start <= at < end:
                    continue
                inside.append((site, cluster, node, row))
                if isinstance(row, TokenRow) and row.phase == "generation":
                    served[cluster, node, row.workload].add(row.model)
    for site, cluster, node, row in inside:
        who: dict[str, str] = {}
        workload = getattr(row, "workload", "")
        if workload and not isinstance(row, EdgeRow | GapRow):
            at = getattr(row, "cell_start_ns", getattr(row, "t_ns", 0))
            name = (cluster, node, workload)
            who = whose(facts_by_day[name], at - at % DAY, windows[site], served[name], models)
        result.rows.append(Told(site, cluster, node, row, who | {"site": site}))
        result.order.append(row)
    return result


def whose(
    facts_by_day: dict[int, list[WorkloadFacts]],
    day: int,
    window: tuple[int, int],
    served: set[str],
    models: dict[str, ModelName],
) -> dict[str, str]:
    """Return the owner by the labels that apply at the end of the UTC day, or of the last earlier day with labels."""
    days = sorted(d for d in facts_by_day if d <= day and d + DAY > window[0])
    if not days:
        kind, labels = "", {}
    else:
        until = min(days[-1] + DAY, window[1])
        before = [fact for fact in facts_by_day[days[-1]] if fact.since_ns < until]
        # Learnt only afterwards: still the best that is known.
        fact = max(before, key=lambda f: f.since_ns) if before else min(facts_by_day[days[-1]], key=lambda f: f.since_ns)
        kind, labels = fact.kind, dict(fact.labels)
    model = next(iter(served)) if len(served) == 1 else "" if served else labels.get("model", "")
    model_name = models.get(model)
    precision = labels.get("precision", "") or (model_name.precision if model_name else "")
    display_name = model_name.display if model_name else model
    team, project = labels.get("team", ""), labels.get("project", "")
    return {
        "team": team,
        "project": f"{team}/{project}" if team and project else project,
        "model": f"{display_name} ({precision})" if display_name and precision else display_name,
        "kind": kind,
    }


BASIS = Basis(EmissionBoundary.DIRECT, Accounting.LOCATION)
MODELS = {"m2": ModelName(model="m2", display="Model Two", precision="int4")}


def organisation(random: Random, zone: str, pieces: dict[str, list[Piece]]) -> Organisation:
    """Both sites: an intensity for every hour, a tariff of two prices, and an inventory of nodes."""
    sites = {}
    for name in ("north", "south"):
        pieces[name] = [
            Piece(t, t + HOUR, Decimal(random.randint(0, 999_999)) / 1000, estimated=False)
            for t in range(FIRST, FIRST + DAYS * DAY, HOUR)
        ]
        band = HourlyPrice(times=["Mon-Fri 08:00-20:00"], per_kwh=0.25)
        tariff = Tariff(
            id="t", currency="EUR", default_per_kwh=0.125, prices=(band,), valid_from=date(2026, 1, 1), source="contract"
        )
        source = IntensitySource(f"series.{name}", BASIS, 1, tuple(pieces[name]))
        sites[name] = SiteInputs(name, ZoneInfo(zone), location=(source,), location_lacking="", tariffs=(tariff,))
    expected = tuple(ExpectedDevice(c, n, "", "", site, 0, INT64_MAX) for (c, n), site in SITE_OF.items())
    return Organisation("x", sites=sites, expected=expected, model_names=MODELS, least_coverage=Fraction(0))


@dataclass
class Case:
    """One random fleet, a period, and what the report makes of it."""

    walk: Walk
    windows: dict[str, tuple[int, int]]
    evidence: PeriodEvidence
    facts: Facts
    pieces: dict[str, list[Piece]]
    zone: str


def case(random: Random, folder: Path, asked: PeriodRequest, zone: str, *, orderly: bool) -> Case | None:
    """None: no row lies in the period, and the report says so."""
    fleet_data = fleet(random, folder / "segments", orderly=orderly)
    pieces: dict[str, list[Piece]] = {}
    org = organisation(random, zone, pieces)
    if not any(fleet_data.segments.values()):
        return None
    days = chains.compacted(folder / "segments", folder / "days", org.stays())
    period = from_quarter(asked.quarter, ZoneInfo(zone)) if asked.quarter else asked.period(ZoneInfo("UTC"))
    assert period.start_ns is not None
    assert period.end_ns is not None
    windows = dict.fromkeys(("north", "south"), (period.start_ns, period.end_ns))
    walked = walk(fleet_data, windows, MODELS)
    try:
        evidence, used = chains.evidence(days, org, asked)
    except WattlensError as error:
        assert "in the period" in str(error)  # noqa: PT017 - the message is the only result
        assert not any(isinstance(org.row, Cell | EdgeRow) for org in walked.rows)
        return None
    return Case(walked, windows, evidence, build_facts(evidence, all_figures(evidence), used, "v"), pieces, zone)
