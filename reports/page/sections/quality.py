"""Data quality of the figures: conservation, coverage, methods, unmeasured time, uncertainty."""

from fractions import Fraction

from energy_agent.core.boundary import UNBOUNDED
from reports.figures import wording
from reports.figures.evidence import INVOICES_ALONE
from reports.figures.facts import Conservation, Facts
from reports.figures.figure import IMPUTED_BY, IMPUTED_J, Figure, energy_text, quotient_text
from reports.language import Translator
from reports.page.amounts import ENERGY, amounts
from reports.page.market import kwh_by_name
from reports.page.section import Block, CheckedStatement, Heat, Note, ReportSection, ReportTable
from reports.page.tables import Head, cell, table, with_unit

_CALENDAR_MOST = 100
_DEVICES = {"devices_missed": "devices_not_seen_all", "unlisted": "devices_in_no_inventory"}


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """The statement of conservation first, since every other figure stands on it."""
    if facts.conservation is None:
        return (Note(say.translate(INVOICES_ALONE)), *_missed(facts, say))
    blocks: list[Block] = [
        _conservation(facts.conservation, say),
        *_calendar(facts, say),
        *_missed(facts, say),
        *_methods(facts, say),
    ]
    blocks += [_budget(facts, say), *_gaps(facts, say), *_imputed(facts, say), *_checks(facts, say)]
    return tuple(blocks)


def _conservation(sums: Conservation, say: Translator) -> CheckedStatement:
    joules = {
        name: wording.exact(energy_text(getattr(sums, f"{name}_uj")))
        for name in ("active", "idle", "unheld", "unattributed", "buckets", "device")
    }
    return CheckedStatement(sums.holds, say("conservation", **joules))


def _calendar(facts: Facts, say: Translator) -> list[Block]:
    """Metered device time by day, as a share of the site's best day."""
    rows, names = [], []
    points: tuple[str, ...] = ()
    for site in facts.sites:
        series = facts.series[f"metered.daily/site/{site}"]
        values = [v or Fraction(0) for v in series.values]
        best = max(values, default=Fraction(0))
        if best and (not points or len(series.points) == len(points)):
            points = series.points
            names.append(site)
            rows.append(tuple(100 * v / best for v in values))
    if not rows or not 1 < len(points) <= _CALENDAR_MOST:
        return []
    title = say("device_time_metered_each_day")
    return [Heat(title, "%", tuple(names), points, tuple(rows), Fraction(100))]


def _missed(facts: Facts, say: Translator) -> list[Block]:
    figures = {site: facts.figures[f"coverage/site/{site}"] for site in facts.sites}
    counted = [key for key in _DEVICES if any(key in figure.dims for figure in figures.values())]
    rows = (
        (site, cell(f.value, wording.percent) or say.translate(f.reason), *(f.dims.get(key, "-") for key in counted))
        for site, f in figures.items()
    )
    blocks: list[Block] = [table(say, "coverage", ("site", "coverage", *(_DEVICES[key] for key in counted)), rows)]
    if missed := facts.by_prefix("missed/")[:10]:
        named = ((f.dims["site"], f.dims["node"], _device(f, say), wording.duration(f.value or 0)) for f in missed)
        blocks.append(table(say, "least_seen", ("site", "node", "device", "not_metered"), named))
    return blocks


def _device(missed: Figure, say: Translator) -> str:
    """A device by its name; where a whole node was never seen, all that it has."""
    node, device = missed.dims["node"], missed.dims["device"]
    return say("every_device", node=node) if device == f"every device of {node}" else device


def _methods(facts: Facts, say: Translator) -> list[Block]:
    shares = facts.by_prefix("quality.method/")
    names = {
        "counter": say("counter"),
        "integrated": say("integrated_power"),
        "bridged": say("bridged_by_the_counter"),
        "modelled": say("modelled"),
    }
    text = ", ".join(f"{names[f.dims['method']]} {wording.percent(f.value or 0)}" for f in shares)
    blocks: list[Block] = [Note(say("measured_by", methods=text or say("nothing")))]
    imported = facts.figures["quality.imported"].value
    if imported:
        blocks.append(Note(say("imported_share", share=wording.percent(imported))))
    return blocks


def _budget(facts: Facts, say: Translator) -> ReportTable:
    """Systematic and random parts apart: they do not shrink alike."""
    total = facts.figures["energy.gpu"].value or 0
    labels = (
        ("systematic", "gain_of_the_sensors"),
        ("edges", "edges_of_intervals"),
        ("unseen", "what_no_sensor_saw"),
    )
    figures = [facts.figures[f"uncertainty/{name}"] for name, _ in labels]
    block = amounts([figure.value for figure in figures], ENERGY)
    rows = (
        (
            say(label),
            say.translate(f.reason) if f.value is None else bound,
            100 * f.value / total if f.value and total else f.value,
        )
        for (_, label), f, bound in zip(labels, figures, block.cells, strict=True)
    )
    heads: tuple[Head, ...] = ("part", with_unit(say, "bound", block.unit), ("of_the_total", ((Fraction(1), "%"),)))
    return table(say, "uncertainty_of_the_gpus_energy", heads, rows)


def _checks(facts: Facts, say: Translator) -> list[Block]:
    """The ledger against what else measured the same."""
    rows = []
    for figure in (facts.figures["crosscheck.prometheus"], *facts.of("crosscheck.it", "site")):
        site = figure.dims.get("site")
        what = say("nodes_over_metered", site=site) if site else say("gpus_in_prometheus_over")
        span = wording.span(figure, say) if figure.low is not None else say.translate(figure.reason)
        rows.append((what, cell(figure.value, lambda value: wording.percent(value, 4)), span))
    return [table(say, "cross_checks", ("figure", "ratio", "bounds_or_why_none"), rows)]


def _gaps(facts: Facts, say: Translator) -> list[Block]:
    """What went unseen: gaps that have a bound, and those that have none."""
    gaps = facts.by_prefix("gap/")
    if not gaps:
        return [Note(say("no_gaps"))]
    bounded, unbounded = [f for f in gaps if f.high is not None], [f for f in gaps if f.high is None]
    notes: list[Block] = []
    if bounded:
        bound = quotient_text(sum((f.high or Fraction(0) for f in bounded), Fraction(0)), "up")
        notes.append(Note(say("gaps_with_a_bound", **_of_gaps(bounded, say), energy=wording.energy(bound))))
    if unbounded:
        notes.append(Note(say("gaps_without_a_bound", **_of_gaps(unbounded, say))))
    return notes


def _imputed(facts: Facts, say: Translator) -> list[Block]:
    """What the building's meters did not read, of which the sum has an estimate."""
    notes: list[Block] = []
    for figure in facts.of("energy.facility", "site"):
        if figure.value is not None and IMPUTED_J in figure.dims:
            total, imputed = wording.energy(figure.value), wording.energy(figure.dims[IMPUTED_J])
            by = kwh_by_name(figure.dims[IMPUTED_BY], say)
            notes.append(Note(say("meters_of_s_building_were", site=figure.dims["site"], energy=total, imputed=imputed, by=by)))
    return notes


def _of_gaps(gaps: list[Figure], say: Translator) -> dict[str, object]:
    seconds = str(sum((Fraction(f.dims["seconds"]) for f in gaps), Fraction(0)))
    reasons = {f.dims["reason"].removeprefix(UNBOUNDED).replace("_", " ") for f in gaps}
    return {
        "time": wording.duration(seconds),
        "devices": sum(int(f.dims["devices"]) for f in gaps),
        "reasons": ", ".join(sorted({say.translate(reason) for reason in reasons})),
    }


SPEC = ReportSection("data_quality", 70, build)
