"""Answers of a report to datapoints: values in the required units, with period, boundary and share of estimates. Pure."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

from energy_agent.factors.embodied import Covers
from reports.figures import wording
from reports.figures.facts import DatapointAnswer, Facts, SitePeriod
from reports.figures.figure import STAND_IN, Figure, plain, rounded
from reports.figures.measures.building import OF_INVOICES, STATED_PUE
from reports.figures.measures.carbon import AVERAGE
from reports.frameworks.datapoints import IndexRow, frameworks, index
from reports.frameworks.rules import ReportedSite, ReportScope
from reports.site.invoices import BY_SUPPLIER

_SCALES: Final[Mapping[tuple[str, str], Fraction]] = {
    ("J", "kWh"): Fraction(1, 3_600_000),
    ("J", "MWh"): Fraction(1, 3_600_000_000),
    ("J", "GJ"): Fraction(1, 1_000_000_000),
    ("kWh", "MWh"): Fraction(1, 1000),
    ("g", "t CO2e"): Fraction(1, 1_000_000),
    ("g", "t CO2"): Fraction(1, 1_000_000),
    ("g", "g CO2e"): Fraction(1),
    ("g/kWh", "g CO2e/kWh"): Fraction(1),
    ("g/token", "g CO2e/token"): Fraction(1),
    ("L", "m3"): Fraction(1, 1000),
    ("L", "ML"): Fraction(1, 1_000_000),
    ("L", "1000 m3"): Fraction(1, 1_000_000),
    ("L/kWh", "m3/MWh"): Fraction(1),
    ("ratio", "%"): Fraction(100),
    ("ratio", ""): Fraction(1),
}
SHOWN: Final = 3
_EMISSIONS: Final = ("co2e.", "scope_3_3", "grid_intensity", "cue", "sci_per_token")
_NARROW: Final = ("gpu", "gpu+cpu", "node", "mixed")
_REPLACED: Final = {
    AVERAGE: "residual", STATED_PUE: "meter.total", OF_INVOICES: "meters.pue", BY_SUPPLIER: "invoice.read",
}  # fmt: skip
"""Substitute in a figure -> the input that it replaces."""


def in_unit(value: Fraction, unit: str, asked: str) -> Fraction | None:
    """Return the value in the unit that a datapoint requires; of `J, Wh` in the first. None: the units do not convert."""
    wanted = asked.partition(", ")[0]
    if unit == wanted:
        return value
    scale = _SCALES.get((unit, wanted))
    return None if scale is None else value * scale


def scope_of(facts: Facts) -> ReportScope:
    """Period and sites of a report, as the rules of datapoints need them."""
    sites = {}
    for name, site in facts.sites.items():
        it_kw = site.declared.get("it_kw")
        sites[name] = ReportedSite(site.declared.get("country", ""), Fraction(it_kw) if it_kw else None)
    texts = {f"declared.name/site/{name}": name for name in facts.sites}
    texts |= {f"declared.country/site/{name}": site.country for name, site in sites.items() if site.country}
    texts |= {f"declared.organisation/site/{name}": facts.organisation for name in sites if facts.organisation}
    boards = facts.of("embodied", "sku")
    whole = all(f.dims.get("covers") == Covers.WITH_SERVER for f in boards)
    categories = {f.id: f.dims["category"] for f in facts.of("water", "site") if "category" in f.dims}
    used = set(categories.values())
    categories["water"] = used.pop() if len(used) == 1 else ""
    covering = [f for f in facts.by_prefix("contract/") if f.value]
    zero = {f.id for f in covering if f.dims.get("g_per_kwh") == "0"}
    return ReportScope(
        all(is_year(site) for site in facts.sites.values()),
        all(is_year(site) and site.start[5:10] == "01-01" for site in facts.sites.values()),
        sites,
        water_categories=categories,
        zero_contracts=zero,
        other_contracts={f.id for f in covering} - zero,
        co2_alone={i for i, f in facts.figures.items() if i.startswith(_EMISSIONS) and counts_co2_alone(facts, f)},
        without_server=frozenset() if whole else {i for i in facts.figures if i.startswith(("sci.embodied", "sci_per_token"))},
        texts=texts,
        narrow={i for i, f in facts.figures.items() if f.boundary in _NARROW},
        first_day=min((site.start[:10] for site in facts.sites.values()), default=""),
    )


def is_year(site: SitePeriod) -> bool:
    """Whether the period of a site is twelve months: it ends at the time and day of its start, a year later."""
    return site.end[:16] == f"{int(site.start[:4]) + 1}{site.start[4:16]}"


def counts_co2_alone(facts: Facts, figure: Figure) -> bool:
    """Whether a figure of emissions counts CO2 alone at its site, or at any site if it is of several."""
    return figure.dims["site"] in facts.co2_alone if "site" in figure.dims else bool(facts.co2_alone)


def rows_of(facts: Facts, reasons: Mapping[str, str], language: str = "en") -> tuple[IndexRow, ...]:
    """Each datapoint of each framework compared with the report; `reasons` are those of its figures in the same language."""
    texts = {i: f.dims[STAND_IN].split("; ") for i, f in facts.figures.items() if STAND_IN in f.dims}
    replaced = {i: tuple(_REPLACED[text] for text in used if text in _REPLACED) for i, used in texts.items()}
    return index(reasons, language, replaced, scope_of(facts))


def reasons_of(facts: Facts) -> dict[str, str]:
    """Figure ID -> why it is absent; "": it has a value, or is a span: bounds without a value, which answer all the same."""
    return {i: "" if _ends(f) else f.reason or "" for i, f in facts.figures.items()}


def datapoint_answers(facts: Facts) -> tuple[DatapointAnswer, ...]:
    """The framework index for facts.json."""
    editions = {framework.id: framework.edition for framework in frameworks()}
    period = period_of(facts)
    answers = []
    for row in rows_of(facts, reasons_of(facts)):
        values = dict(row.texts)
        for identity in row.answered_by:
            if ends := ends_of(facts, identity, row.asked):
                values[identity] = " to ".join(plain(rounded(end)) for end in ends)
        answers.append(
            DatapointAnswer(
                framework=row.framework,
                edition=editions[row.framework],
                datapoint=row.datapoint,
                state=row.state,
                unit=row.unit,
                values=values,
                period=period if values else "",
                boundary=boundary_of(facts, row),
                estimated_share=estimated_text(facts, row),
                figures=row.answered_by,
                missing=row.missing,
            )
        )
    return tuple(answers)


def period_of(facts: Facts) -> str:
    """First instant and end of the report, in the time zone of each site; one text where they agree."""
    return "; ".join(dict.fromkeys(f"{site.start} to {site.end}" for site in facts.sites.values()))


def boundary_of(facts: Facts, row: IndexRow) -> str:
    """Boundaries of the figures that answer a datapoint."""
    return ", ".join(dict.fromkeys(facts.figures[i].boundary for i in row.answered_by))


def estimated_text(facts: Facts, row: IndexRow) -> str:
    """Share of estimates in the sites' figures that answer a datapoint, from 0 to 1; "" without figures of sites to weigh."""
    sites = [facts.figures[i] for i in row.answered_by if "/site/" in i]
    whole = sum((f.value for f in sites if f.value is not None), Fraction(0))
    if not whole or len({f.unit for f in sites}) > 1 or sites[0].unit in ("ratio", "L/kWh", "kg/kWh", "g/kWh"):
        return ""
    estimated_sum = sum((f.estimated for f in sites), Fraction(0))
    return plain(rounded(estimated_sum / whole, digits=4))


def values_of(facts: Facts, row: IndexRow) -> str:
    """The answer in the unit that the datapoint requires: the total, else each site or group by name."""
    totals = [i for i in row.answered_by if "/" not in i]
    texts = [f"{identity.rpartition('/')[2]} {text}" for identity, text in row.texts.items()]
    for identity in totals[:1] or row.answered_by[:SHOWN]:
        text = " \u2013 ".join(wording.short(end, 4) for end in ends_of(facts, identity, row.asked))
        if not text:
            continue
        name = identity.rpartition("/")[2] if "/" in identity else ""
        texts.append(f"{name} {text}".strip())
    more = " \u2026" if not totals and len(row.answered_by) > SHOWN and texts else ""
    return "; ".join(texts) + more


def ends_of(facts: Facts, identity: str, asked: str) -> list[Fraction]:
    """The value of a figure in the unit that a datapoint requires, or the ends of its span; none if it has no such unit."""
    figure = facts.figures[identity]
    return [end for each in _ends(figure) if (end := in_unit(each, figure.unit, asked)) is not None]


def _ends(figure: Figure) -> list[Fraction]:
    """The value, or the ends of a span."""
    ends = (figure.value,) if figure.value is not None else (figure.low, figure.high)
    return [end for end in ends if end is not None]
