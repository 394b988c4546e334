"""Where the energy went: from running kernels to the building, by site, team, project, model and kind."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

from energy_agent.core.units import J_PER_KWH
from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure, microjoules
from reports.language import Translator
from reports.page.amounts import ENERGY, MASS, WATER, Scale, amount_texts
from reports.page.labels import label_id
from reports.page.partition import co2e_prefix, unallocated, whole
from reports.page.section import Bars, Block, Lines, Note, ReportSection, ReportTable, StackedBar, Waterfall, WaterfallStep
from reports.page.tables import NUMBER, Cell, Head, bounds, table
from reports.period import DAY_NS, day_ns

ROWS_MOST = 15
DAYS_LEAST = 3
GROUPS = (("team", "teams"), ("project", "projects"), ("model", "models"), ("kind", "kinds_of_workload"))
_BOUNDARIES = ("energy.gpu", "energy.node", "energy.facility")
_KWH = Fraction(1, J_PER_KWH)


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """A waterfall, the daily course, and a table for each way of telling it apart."""
    blocks: list[Block] = [] if facts.invoices_alone else [_waterfall(facts, say), *_daily(facts, say)]
    if len(facts.sites) > 1 or facts.invoices_alone:
        blocks.append(_sites(facts, say))
    for dimension, title in GROUPS:
        figures = facts.of("energy.held", dimension)
        if figures:
            if dimension == "team":
                blocks.append(_bars(facts, say, figures))
            blocks.append(_table(facts, say, dimension, say(title), figures))
    return (*blocks, *_partition(facts, say))


def _partition(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """What each building's energy consists of: workloads, unallocated nodes, and IT that is in no node with its losses."""
    rows: list[tuple[Cell, ...]] = []
    values: list[tuple[Fraction | None, ...]] = []
    for site in facts.sites:
        total, node, rest, *others = (
            facts.value(f"energy.{part}/site/{site}")
            for part in ("facility", "node", *(f"facility.unattributed{rest}" for rest in ("", ".nodes", ".other_it")))
        )
        if total is None or (facts.sites[site].invoiced and node is None):
            continue
        category = facts.figures[f"pue/site/{site}"].dims.get("category", "none")
        values.append((None if rest is None else total - rest, *others, total))
        rows.append((site, *values[-1], say("estimate") if category == "none" else category))
    if not rows:
        return ()
    if len(rows) > 1:
        rows.append((say("total"), *map(sum_or_none, zip(*values, strict=True)), ""))
    parts = ((head, ENERGY) for head in ("workloads", "unallocated_nodes", "other_it_and_losses", "total"))
    parts_table = table(say, "parts_of_the_building_energy", ("site", *parts, "pue_category"), rows)
    return (parts_table, Note(say("pue_applies_at_its_category")))


def named(figure: Figure, dimension: str, say: Translator) -> str:
    """What a group is called; that of "" has nobody's name."""
    return figure.dims[dimension] or say("unassigned")


def _waterfall(facts: Facts, say: Translator) -> Waterfall:
    """From running kernels to the building, in one unit."""
    steps: list[tuple[str, Fraction, bool]] = []
    for name, called in (
        ("active", say("kernels_running")),
        ("idle", say("held_idle")),
        ("unheld", say("held_by_nobody")),
        ("unattributed", say("not_attributed")),
    ):
        figure = facts.figures[f"energy.gpu.{name}"]
        if figure.value:
            steps.append((called, figure.value, False))
    total = facts.figures["energy.gpu"].value or Fraction(0)
    steps.append((say("all_gpus"), total, True))
    hosts, rest = _beyond_gpus(facts)
    boundaries = {facts.boundary_of(site) for site in facts.sites}
    title, last = say("from_running_kernels_to_gpus"), ""
    if boundaries == {"node"}:
        title, last = say("from_running_kernels_to_nodes"), say("all_nodes")
    elif boundaries == {"facility"}:
        title, last = say("from_running_kernels"), say("building")
    elif boundaries != {"gpu"}:
        title, last = say("from_running_kernels_to_the_widest"), say("widest_boundary")
    if hosts:
        steps.append((say("hosts"), hosts, False))
    if hosts and boundaries == {"facility"}:
        steps.append((say("all_nodes"), total + hosts, True))
    if rest:
        steps.append((say("the_rest_of_the_building"), rest, False))
    if last and boundaries:
        steps.append((last, total + hosts + rest, True))
    written = amount_texts([value for _, value, _ in steps], ENERGY)
    pairs = zip(steps, written, strict=True)
    drawn = (WaterfallStep(label, value * _KWH, text, level) for (label, value, level), text in pairs)
    return Waterfall(title, "kWh", tuple(drawn))


def _beyond_gpus(facts: Facts) -> tuple[Fraction, Fraction]:
    """Energy of hosts and of the rest of buildings, of each site up to its widest boundary, J."""
    hosts = rest = Fraction(0)
    for site in facts.sites:
        gpu, node, facility = (facts.figures[f"energy.{name}/site/{site}"].value for name in ("gpu", "node", "facility"))
        within = facts.boundary_of(site)
        below = gpu or Fraction(0)
        if within != "gpu" and node is not None:
            hosts += node - below
            below = node
        if within == "facility" and facility is not None:
            rest += facility - below
    return hosts, rest


def _daily(facts: Facts, say: Translator) -> list[Block]:
    """Energy of GPUs and hosts by UTC day, of days that lie whole in the period; nothing where there are too few."""
    lines: dict[str, dict[str, Fraction]] = {}
    for name, site in facts.sites.items():
        kinds = [facts.series[f"energy.daily.{kind}/site/{name}"] for kind in ("active", "idle", "other", "host")]
        whole = {
            point: sum((kind.values[i] or 0 for kind in kinds), Fraction(0)) * _KWH
            for i, point in enumerate(kinds[0].points)
            if int(site.start_ns) <= day_ns(point) and day_ns(point) + DAY_NS <= int(site.end_ns)
        }
        if whole:
            lines[name] = whole
    points = tuple(sorted({point for line in lines.values() for point in line}))
    if len(points) < DAYS_LEAST:
        return []
    series = {name: tuple(line.get(point) for point in points) for name, line in lines.items()}
    return [Lines(say("energy_of_gpus_and_hosts"), "kWh", points, series)]


def _sites(facts: Facts, say: Translator) -> ReportTable:
    """One unit for the table; each boundary with its bounds."""
    rows = []
    for name, suffix in [*((name, f"/site/{name}") for name in facts.sites), (say("total"), "")]:
        figures = (facts.figures[quantity + suffix] for quantity in _BOUNDARIES)
        rows.append((name, *(cell for f in figures for cell in (f.value, bounds(f, say)))))
    return table(say, "energy_by_site", ("site", *energy_heads()), rows)


def energy_heads() -> Iterator[Head]:
    """Heads of the energy of GPUs, nodes and the building, each with its bounds."""
    return (head for quantity in _BOUNDARIES for head in ((label_id(quantity), ENERGY), "bounds"))


def _bars(facts: Facts, say: Translator, figures: list[Figure]) -> Bars:
    kinds = {"active": say("kernels_running"), "idle": say("held_idle")}
    bars = []
    ranked = sorted(figures, key=lambda f: (-microjoules(f), f.id))[:ROWS_MOST]
    for figure, text in zip(ranked, amount_texts([f.value for f in ranked], ENERGY), strict=True):
        parts = tuple(
            (state, microjoules(facts.figures[f"energy.held.{state}/team/{figure.dims['team']}"]))
            for state in ("active", "idle")
        )
        bars.append(StackedBar(named(figure, "team", say), text, parts))
    return Bars(say("gpu_energy_by_team"), kinds, tuple(bars))


def _table(facts: Facts, say: Translator, dimension: str, title: str, figures: list[Figure]) -> ReportTable:
    """The largest, then one row of all others, then what no workload held: each column adds up to the meter's total."""
    located = f"{co2e_prefix(facts)}held.location"
    boundaries = {facts.boundary_of(site) for site in facts.sites}
    columns: tuple[tuple[str, Scale], ...] = (
        ("energy.held", ENERGY),
        ("gpu_hours", NUMBER),
        *((("energy.held.inventory", ENERGY),) if boundaries != {"gpu"} else ()),
        (located, MASS),
        *((("water.held", WATER),) if whole(facts, "water.held") is not None else ()),
    )
    ranked = sorted(figures, key=lambda f: (-microjoules(f), f.id))

    def of(group: Figure) -> list[Fraction | None]:
        return [facts.figures[f"{quantity}/{dimension}/{group.dims[dimension]}"].value for quantity, _ in columns]

    groups = [(named(f, dimension, say), wording.plus_minus(f, say), of(f)) for f in ranked[:ROWS_MOST]]
    if others := ranked[ROWS_MOST:]:
        sums = list(map(sum_or_none, zip(*map(of, others), strict=True)))
        groups.append((say("count_others", count=len(others)), "", sums))
    groups.append((say("unallocated"), "", [unallocated(facts, quantity) for quantity, _ in columns]))
    total = wording.plus_minus(facts.figures["energy.gpu"], say)
    groups.append((say("total"), total, [whole(facts, quantity) for quantity, _ in columns]))
    rows = [(name, values[0], error, *values[1:]) for name, error, values in groups]
    at_widest = {"energy.held.inventory": "energy.held.facility"} if boundaries == {"facility"} else {}
    first, *heads = ((label_id(at_widest.get(quantity, quantity)), scale) for quantity, scale in columns)
    caption = say("energy_and_what_is_in_no_workload", title=title)
    return table(say, caption, (title, first, "bounds", *heads), rows, apart=True)


def sum_or_none(values: Iterable[Fraction | None]) -> Fraction | None:
    """The sum; None where one is not known."""
    items = list(values)
    return None if None in items else sum((value for value in items if value is not None), Fraction(0))


SPEC = ReportSection("energy", 20, build)
