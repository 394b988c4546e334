"""What a datapoint asks of a figure in addition to having a value: its period, its site, how it was measured. Pure.

A rule takes away figures that do not meet the datapoint's definition, names the input that is missing, or finds that the
datapoint does not apply. Data files (data/) name the rules of each datapoint.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

EU: Final = frozenset({
    "AUT", "BEL", "BGR", "HRV", "CYP", "CZE", "DNK", "EST", "FIN", "FRA", "DEU", "GRC", "HUN", "IRL",
    "ITA", "LVA", "LTU", "LUX", "MLT", "NLD", "POL", "PRT", "ROU", "SVK", "SVN", "ESP", "SWE",
})  # fmt: skip
"""ISO 3166-1 codes of the member states, where Directive (EU) 2023/1791 applies."""
EED_LEAST_KW: Final = 500
"""Installed IT power from which a data centre reports (Directive (EU) 2023/1791, Article 12)."""
ENEFG_LEAST_KW: Final = 150
"""Installed IT power below which a German site is left out: its connected power is then taken to be below the 300 kW of the
EnEfG (section 3, number 24), which would need twice the IT power. No input has the connected power itself."""


@dataclass(frozen=True, slots=True)
class ReportedSite:
    """A site as rules see it: country (ISO 3166-1 alpha-3, "" if unknown) and installed IT power in kW (None if unknown)."""

    country: str = ""
    it_kw: Fraction | None = None


@dataclass(frozen=True, slots=True)
class ReportScope:
    """What a report covers.

    Args:
        twelve_months: its period is a year.
        calendar_year: its period is that from January to December at each site.
        sites: its sites by name; empty: rules about sites exclude none.
        stand_ins: figures in which a substitute, such as a stated PUE, replaces the required quantity -> keys of the inputs
            that it replaces.
        narrow: figures whose boundary ends before the building at a site.
        co2_alone: figures of emissions that count CO2 alone.
        without_server: embodied emissions, and SCI, of which a footprint is not known to include the server around its GPUs.
        texts: answers in words, such as a site's name, by ID.
        water_categories: WUE category of figures of water; a total over sites of several categories has none of them.
        zero_contracts: figures of contracts that cover energy at 0 g/kWh; None: any contract.
        other_contracts: figures of contracts that cover energy at another factor.
        first_day: first day of the period, as ISO text; "": editions of every period apply.
    """

    twelve_months: bool = True
    calendar_year: bool = True
    sites: Mapping[str, ReportedSite] = field(default_factory=dict)
    stand_ins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    narrow: Collection[str] = frozenset()
    co2_alone: Collection[str] = frozenset()
    without_server: Collection[str] = frozenset()
    texts: Mapping[str, str] = field(default_factory=dict)
    water_categories: Mapping[str, str] = field(default_factory=dict)
    zero_contracts: Collection[str] | None = None
    other_contracts: Collection[str] = frozenset()
    first_day: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Figures of a datapoint, by ID with the reason for their absence ("": it has a value), and keys of missing inputs.

    Where the datapoint does not apply, `missing` may have the reason.
    """

    figures: Mapping[str, str]
    missing: tuple[str, ...] = ()
    applicable: bool = True

    @property
    def has_value(self) -> bool:
        """Whether a figure has a value."""
        return "" in self.figures.values()

    def add_missing(self, need: str) -> "Answer":
        """The same with a missing input, if it has a value at all."""
        return replace(self, missing=(*self.missing, need)) if self.has_value else self

    def only(self, keep: Callable[[str], bool], need: str) -> "Answer":
        """The figures that `keep` accepts; an input is missing if it refuses one with a value."""
        kept = {name: reason for name, reason in self.figures.items() if keep(name)}
        refused = any(not reason for name, reason in self.figures.items() if name not in kept)
        return replace(self, figures=kept, missing=(*self.missing, need) if refused else self.missing)


def _twelve_months(answer: Answer, scope: ReportScope) -> Answer:
    return answer if scope.twelve_months else answer.add_missing("annual")


def _calendar_year(answer: Answer, scope: ReportScope) -> Answer:
    """Twelve months that are no calendar year; of fewer months, `twelve_months` is what is missing."""
    return answer.add_missing("calendar") if scope.twelve_months and not scope.calendar_year else answer


def _measured(need: str) -> Callable[[Answer, ReportScope], Answer]:
    """A value that a meter measured: an estimate does not meet the definition."""
    return lambda answer, scope: answer.only(lambda name: name not in scope.stand_ins, need)


def _data_centre(countries: Collection[str], least_kw: int) -> Callable[[Answer, ReportScope], Answer]:
    """Per site, in some countries, from a power of IT in kW; a site whose IT power is unknown is not excluded."""

    def keep(answer: Answer, scope: ReportScope) -> Answer:
        if not scope.sites:
            return answer
        sites = tuple(
            f"/site/{name}"
            for name, site in scope.sites.items()
            if site.country in countries and (site.it_kw is None or site.it_kw >= least_kw)
        )
        kept = {name: reason for name, reason in answer.figures.items() if name.endswith(sites)}
        return replace(answer, figures=kept, applicable=bool(sites))

    return keep


def _whole_site(answer: Answer, scope: ReportScope) -> Answer:
    """Figures of whole sites, emissions in CO2e: those of GPUs or nodes alone, or of CO2 alone, are a part of them."""
    available = [name for name, reason in answer.figures.items() if not reason]
    if any(name in scope.narrow for name in available):
        answer = answer.add_missing("site.whole")
    return answer.add_missing("gases") if any(name in scope.co2_alone for name in available) else answer


def _with_server(answer: Answer, scope: ReportScope) -> Answer:
    has_figure = any(not reason and name in scope.without_server for name, reason in answer.figures.items())
    return answer.add_missing("server") if has_figure else answer


def _water_category(category: str, need: str) -> Callable[[Answer, ReportScope], Answer]:
    return lambda answer, scope: answer.only(lambda name: scope.water_categories.get(name, category) == category, need)


def _zero_factor(answer: Answer, scope: ReportScope) -> Answer:
    """Contracts that cover energy at 0 g/kWh; the datapoint does not ask for the others.

    It does not apply where contracts cover energy, but all of them at another factor: no input is missing then.
    """
    if scope.zero_contracts is None:
        return answer
    kept = {name: reason for name, reason in answer.figures.items() if name in scope.zero_contracts}
    if not kept and any(name in scope.other_contracts for name in answer.figures):
        return replace(answer, figures={}, missing=("zero_factor",), applicable=False)
    return replace(answer, figures=kept)


def _always_missing(need: str) -> Callable[[Answer, ReportScope], Answer]:
    return lambda answer, scope: answer.add_missing(need)


def _not_applicable(answer: Answer, _: ReportScope) -> Answer:
    return replace(answer, figures={}, missing=(), applicable=False)


RULES: Final[Mapping[str, Callable[[Answer, ReportScope], Answer]]] = {
    "twelve_months": _twelve_months,
    "calendar_year": _calendar_year,
    "with_server": _with_server,
    "with_all_sources": _always_missing("all.sources"),
    "with_owner": _always_missing("owner"),
    "with_municipality": _always_missing("municipality"),
    "whole_site": _whole_site,
    "metered_total": _measured("meter.total"),
    "metered_pue": _measured("meters.pue"),
    "eu_data_centre": _data_centre(EU, EED_LEAST_KW),
    "german_data_centre": _data_centre({"DEU"}, ENEFG_LEAST_KW),
    "chinese_data_centre": _data_centre({"CHN"}, 0),
    "without_subsidy": _always_missing("unsubsidised"),
    "zero_factor": _zero_factor,
    "with_fuels": _always_missing("fuel"),
    "whole_run": _always_missing("run"),
    "water_category_1": _water_category("1", "meter.potable"),
    "water_category_2": _water_category("2", "water.all"),
    "not_applicable": _not_applicable,
}
