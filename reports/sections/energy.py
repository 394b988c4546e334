"""Where the energy went: from running kernels to the building, by site, team, project, model and kind."""

from fractions import Fraction

from energy_agent.core.units import J_PER_KWH
from reports import wording
from reports.facts import Facts
from reports.figures import Figure, microjoules
from reports.language import Say
from reports.period import DAY_NS, day_ns
from reports.sections._section import Bar, Bars, Block, Lines, Section, Step, Table, Waterfall

ROWS_MOST = 15
DAYS_LEAST = 3
GROUPS = (("team", "Teams"), ("project", "Projects"), ("model", "Models"), ("kind", "Kinds of workload"))
_KWH = Fraction(1, J_PER_KWH)


def build(facts: Facts, say: Say) -> tuple[Block, ...]:
    """A waterfall, the daily course, and a table for each way of telling it apart."""
    blocks: list[Block] = [_waterfall(facts, say), *_daily(facts, say)]
    if len(facts.sites) > 1:
        blocks.append(_sites(facts, say))
    for dimension, title in GROUPS:
        figures = facts.of("energy.held", dimension)
        if figures:
            if dimension == "team":
                blocks.append(_bars(facts, say, figures))
            blocks.append(_table(facts, say, dimension, say(title), figures))
    return tuple(blocks)


def named(figure: Figure, dimension: str, say: Say) -> str:
    """What a group is called; "" told nothing."""
    return figure.dims[dimension] or say("not told")


def _waterfall(facts: Facts, say: Say) -> Waterfall:
    steps = []
    for name, label in (
        ("active", say("kernels running")),
        ("idle", say("held, idle")),
        ("unheld", say("held by nobody")),
        ("unattributed", say("not attributed")),
    ):
        figure = facts.figures[f"energy.gpu.{name}"]
        if figure.value and Fraction(figure.value):
            steps.append(Step(label, Fraction(figure.value) * _KWH, wording.energy(figure.value)))
    total = facts.figures["energy.gpu"]
    steps.append(_level(say("all GPUs"), total))
    node, facility = facts.figures["energy.node"], facts.figures["energy.facility"]
    if node.value:
        rest = Fraction(node.value) - Fraction(total.value or 0)
        steps += [Step(say("hosts"), rest * _KWH, wording.energy(str(rest))), _level(say("all nodes"), node)]
    if node.value and facility.value:
        rest = Fraction(facility.value) - Fraction(node.value)
        steps += [
            Step(say("the rest of the building"), rest * _KWH, wording.energy(str(rest))),
            _level(say("building"), facility),
        ]
    return Waterfall(say("From running kernels to the building"), "kWh", tuple(steps))


def _daily(facts: Facts, say: Say) -> list[Block]:
    """Energy of GPUs and hosts by UTC day, of days that lie whole in the period; nothing where there are too few."""
    lines: dict[str, dict[str, Fraction]] = {}
    for name, site in facts.sites.items():
        kinds = [facts.series[f"energy.daily.{kind}/site/{name}"] for kind in ("active", "idle", "other", "host")]
        whole = {
            point: sum((Fraction(kind.values[i] or 0) for kind in kinds), Fraction(0)) * _KWH
            for i, point in enumerate(kinds[0].points)
            if int(site.start_ns) <= day_ns(point) and day_ns(point) + DAY_NS <= int(site.end_ns)
        }
        if whole:
            lines[name] = whole
    points = tuple(sorted({point for line in lines.values() for point in line}))
    if len(points) < DAYS_LEAST:
        return []
    series = {name: tuple(line.get(point) for point in points) for name, line in lines.items()}
    return [Lines(say("Energy of GPUs and hosts by day (UTC)"), "kWh", points, series)]


def _level(label: str, figure: Figure) -> Step:
    return Step(label, Fraction(figure.value or 0) * _KWH, wording.energy(figure.value or "0"), level=True)


def _sites(facts: Facts, say: Say) -> Table:
    rows = []
    for name in facts.sites:
        cells = []
        for quantity in ("energy.gpu", "energy.node", "energy.facility"):
            figure = facts.figures[f"{quantity}/site/{name}"]
            cells.append(
                f"{wording.energy(figure.value)} {wording.plus_minus(figure, say)}" if figure.value else say(wording.ABSENT)
            )
        rows.append((name, *cells))
    return Table(say("Energy by site"), (say("Site"), say("GPUs"), say("Nodes"), say("Building")), tuple(rows))


def _bars(facts: Facts, say: Say, figures: list[Figure]) -> Bars:
    kinds = {"active": say("kernels running"), "idle": say("held, idle")}
    bars = []
    for figure in sorted(figures, key=lambda f: (-microjoules(f), f.id))[:ROWS_MOST]:
        parts = tuple(
            (state, microjoules(facts.figures[f"energy.held.{state}/team/{figure.dims['team']}"]))
            for state in ("active", "idle")
        )
        bars.append(Bar(named(figure, "team", say), wording.energy(figure.value or "0"), parts))
    return Bars(say("GPU energy by team"), kinds, tuple(bars))


def _table(facts: Facts, say: Say, dimension: str, title: str, figures: list[Figure]) -> Table:
    """The largest, then one row of all others, so that the column adds up to what all workloads held."""
    ranked = sorted(figures, key=lambda f: (-microjoules(f), f.id))
    rows = []
    for figure in ranked[:ROWS_MOST]:
        name = figure.dims[dimension]
        facility = facts.figures[f"energy.held.facility/{dimension}/{name}"]
        located = facts.figures[f"co2e.held.location/{dimension}/{name}"]
        hours = facts.figures[f"gpu_hours/{dimension}/{name}"]
        rows.append(
            (
                named(figure, dimension, say),
                wording.energy(figure.value or "0"),
                wording.plus_minus(figure, say),
                wording.short(hours.value or "0"),
                wording.energy(facility.value) if facility.value else "\u2013",
                wording.mass(located.value) if located.value else "\u2013",
            )
        )
    others = ranked[ROWS_MOST:]
    if others:
        joules = sum((Fraction(f.value or 0) for f in others), Fraction(0))
        rows.append((say("{count} others", count=len(others)), wording.energy(str(joules)), "", "", "", ""))
    columns = (title, say("GPU energy"), say("bounds"), say("GPU hours"), say("with the building"), say("CO2e, location-based"))
    return Table(say("{title}: what their workloads held", title=title), columns, tuple(rows))


SPEC = Section("Energy", 20, build, wide=True)
