"""What the energy cost and what was charged, by site, team and million tokens."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import chain

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.figures.measures.cost import IN_CURRENCY
from reports.language import Translator
from reports.page.amounts import numbers
from reports.page.section import Block, Note, OmittedSection, ReportSection
from reports.page.tables import names_by_reason, table, with_unit

ROWS_MOST = 15
_STATES = {"finding": "state_finding", "agrees": "state_agrees", "uncertain": "state_uncertain"}
Told = Mapping[str, Mapping[str, Figure]]
"""Figures by what they are of, by their quantity."""


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """Build tables of sites, teams and models by descending cost. Charges are shown even if no tariff gives the energy cost."""
    sites = [f for f in facts.of("cost", "site") if f.value is not None]
    without = [f for f in facts.of("cost", "site") if f.value is None]
    blocks: list[Block] = []
    if sites:
        wholes = in_currencies(facts, "") or [facts.figures["cost"]]
        every = [*sites, *without, *wholes]
        unit = one_currency(every)
        names = (f.dims.get("site", say("total")) for f in every)
        rows = ((name, text, f.low, f.high) for name, text, f in zip(names, moneys(every, unit), every, strict=True))
        ends = ((head, ((Fraction(1), unit),)) for head in ("at_least", "at_most"))
        blocks.append(table(say, "electricity_by_site", ("site", with_unit(say, "cost", unit), *ends), rows, apart=True))
        blocks += [Note(say("no_cost_of_site", site=f.dims["site"], reason=say.translate(f.reason))) for f in without]
        invoiced = [f for f in sites if "tax" in f.dims]
        if len(invoiced) < len(sites):
            blocks.append(Note(say("cost_bounds_are_those_of_the_energy")))
        if invoiced:
            blocks.append(Note(say("cost_by_invoices", sites=", ".join(f.dims["site"] for f in invoiced))))
        blocks += _terms(invoiced, say)
    blocks += _invoices(facts, say)
    blocks += _demand(facts, say)
    for dimension, title in (("team", "teams"), ("model", "models")):
        blocks += _groups(facts, say, dimension, say(title))
    total = facts.figures["cost"]
    if not blocks:
        return OmittedSection(say.translate(total.reason))
    if total.reason:
        blocks.append(Note(say("no_cost_of_all", reason=say.translate(total.reason))))
    return tuple(blocks)


def _terms(figures: Sequence[Figure], say: Translator) -> Iterator[Note]:
    """Which amounts of invoices include taxes, and which invoices count in part."""
    for tax, message in (("excluded", "amounts_without_tax"), ("included", "amounts_with_tax")):
        if sites := [f.dims["site"] for f in figures if f.dims["tax"] == tax]:
            yield Note(say(message, sites=", ".join(sites)))
    if cut := [f"{f.dims['site']} {f.dims['prorated']}" for f in figures if "prorated" in f.dims]:
        yield Note(say("amounts_prorated", invoices="; ".join(cut)))


def _invoices(facts: Facts, say: Translator) -> list[Block]:
    """Cost by tariffs next to the amounts of invoices, of sites that have both."""
    differences = facts.of("cost.variance", "site")
    if not differences:
        return []
    rows = []
    for figure in differences:
        site = figure.dims["site"]
        pair = [facts.figures[f"{quantity}/site/{site}"] for quantity in ("cost", "cost.invoiced")]
        unit = one_currency(pair)
        money = [
            f"{cell} {unit}" if unit and f.value is not None else cell for cell, f in zip(moneys(pair, unit), pair, strict=True)
        ]
        if figure.value is None:
            rows.append((site, *money, None, say.translate(figure.reason)))
        else:
            state = say(_STATES[figure.dims["state"]], threshold=wording.percent(figure.dims["threshold"]))
            rows.append((site, *money, _difference(figure), state))
    heads = ("site", "by_tariffs", "by_invoices", "invoices_against_tariffs", "finding")
    cost_table = table(say, "cost_by_tariffs_and_by_invoices", heads, rows)
    return [cost_table, *_terms([facts.figures[f"cost.invoiced/site/{f.dims['site']}"] for f in differences], say)]


def _difference(figure: Figure) -> str:
    """A relative difference in percent, with its bounds."""
    value, *ends = (
        wording.signed(100 * number, lambda size: wording.fixed(size, 2))
        for number in (figure.value, figure.low, figure.high)
        if number is not None
    )
    return f"{value} %" + (f" ({ends[0]} \u2013 {ends[1]} %)" if len(set(ends)) == 2 else "")


def _demand(facts: Facts, say: Translator) -> list[Block]:
    """Peak demand charges by site and month; nothing where no tariff has them."""
    figures = [f for f in facts.of("cost.demand", "site") if f.value is not None]
    rows = [(f.dims["site"], key[:7], text) for f in figures for key, text in sorted(f.dims.items()) if key != "site"]
    rows += [(f.dims["site"], say("total"), f"{wording.short(f.value or 0, 4)} {f.unit}") for f in figures]
    return [table(say, "demand_charges", ("site", "month", "peak_and_price"), rows)] if rows else []


def _groups(facts: Facts, say: Translator, dimension: str, title: str) -> list[Block]:
    """What has a cost or a charge; the largest number first, then a row that counts the rest; then what is
    not known or not charged. Nothing where nothing has either.
    """
    amounts = {q: {f.dims[dimension]: f for f in facts.of(q, dimension)} for q in ("charged", "cost")}
    every = [*amounts["charged"].items(), *amounts["cost"].items()]
    if not any(f.value is not None for _, f in every) and not in_currencies(facts, ""):
        return []
    names = {name: Fraction(-1) for name, _ in every} | {name: f.value for name, f in every if f.value is not None}
    ranked = sorted(names, key=lambda name: (-names[name], name))
    names_shown = [name or say("unassigned") for name in ranked[:ROWS_MOST]]
    columns: dict[str, list[Figure | None]] = {
        quantity: [facts.figures.get(f"{quantity}/{dimension}/{name}") for name in ranked[:ROWS_MOST]]
        for quantity in ("cost", "cost_per_million_tokens", "charged")
    }
    if len(ranked) > ROWS_MOST:
        names_shown.append(say("count_others", count=len(ranked) - ROWS_MOST))
        columns["cost"].append(_sum([amounts["cost"].get(name) for name in ranked[ROWS_MOST:]]))
        columns["cost_per_million_tokens"].append(None)
        columns["charged"].append(None)
    names_shown += [say("unallocated"), say("total")]
    columns["cost"] += [facts.figures["cost.unattributed"], facts.figures["cost"]]
    columns["cost_per_million_tokens"] += [None, None]
    columns["charged"] += [None, _sum(list(amounts["charged"].values()))]
    several = {name: in_currencies(facts, f"/{dimension}/{name}") for name in names}
    rests = [f for f in facts.of("cost.unattributed", "currency") if f.value is not None]
    parts: list[Sequence[Figure]] = [several[name] for name in ranked[:ROWS_MOST]]
    parts += [*([[]] if len(ranked) > ROWS_MOST else []), rests, in_currencies(facts, "")]
    heads, cells = [title], []
    for quantity, head in (("cost", "electricity"), ("cost_per_million_tokens", "per_million_tokens"), ("charged", "charged")):
        column = columns[quantity]
        split = parts if quantity == "cost" else [()] * len(column)
        every_figure = [*column, *chain(*split)]
        if any(f is not None and f.value is not None for f in every_figure):
            unit = one_currency(every_figure)
            heads.append(with_unit(say, head, unit))
            triples = zip(moneys(column, unit), column, split, strict=True)
            cells.append(
                tuple("; ".join(moneys(currency, "")) if currency and f and f.reason else text for text, f, currency in triples)
            )
    cost_table = table(say, say("cost_and_what_is_in_no_workload", title=title), heads, zip(names_shown, *cells, strict=True))
    unknown = {name: f for name, f in amounts["cost"].items() if not several[name]}
    return [cost_table, *_absent({**amounts, "cost": unknown}, say), *_unpriced(amounts["charged"], say)]


def _absent(amounts: Told, say: Translator) -> Iterator[Note]:
    """Why cells of a table are empty, by column and reason."""
    for quantity, column in (("cost", say("electricity")), ("charged", say("charged"))):
        named = ((name or say("unassigned"), figure) for name, figure in amounts[quantity].items())
        for reason, names in names_by_reason(named).items():
            yield Note(say("no_amount_in_column", column=column, names=_few(names, say), reason=say.translate(reason)))


def _unpriced(charged: Mapping[str, Figure], say: Translator) -> Iterator[Note]:
    """GPU hours that are in no charge."""
    unpriced = [(name, f.dims["unpriced_gpu_hours"]) for name, f in charged.items() if "unpriced_gpu_hours" in f.dims]
    if unpriced:
        hours = [f"{name or say('unassigned')} {wording.short(hours, 4)}" for name, hours in unpriced]
        yield Note(say("gpu_hours_of_classes_without", hours=_few(hours, say)))


def _few(names: list[str], say: Translator) -> str:
    more = [say("count_others", count=len(names) - ROWS_MOST)] if len(names) > ROWS_MOST else []
    return ", ".join([*names[:ROWS_MOST], *more])


def _sum(figures: Sequence[Figure | None]) -> Figure | None:
    """What some groups cost together; None where one is not known, or they pay in several currencies."""
    units = {f.unit for f in figures if f is not None}
    if len(units) != 1 or not all(f is not None and f.value is not None for f in figures):
        return None
    money = sum(((f.value or 0) for f in figures if f is not None), Fraction(0))
    first = next(f for f in figures if f is not None)
    return replace(first, value=Fraction(money), low=None, high=None)


def in_currencies(facts: Facts, suffix: str) -> list[Figure]:
    """The known subtotals by currency of everything ("") or of a group; empty where sites do not pay in several."""
    prefix = f"{IN_CURRENCY}/"
    return [f for f in facts.by_prefix(prefix) if f.id == f"{prefix}{f.unit}{suffix}" and f.value is not None]


def one_currency(figures: Iterable[Figure | None]) -> str:
    """The currency of all known figures; "" if they have several."""
    units = {f.unit.partition("/")[0] for f in figures if f is not None and f.value is not None}
    return units.pop() if len(units) == 1 else ""


def moneys(figures: Sequence[Figure | None], unit: str) -> tuple[str, ...]:
    """A column of money; with the currency in each cell where there are several."""
    texts = numbers([None if f is None else f.value for f in figures])
    if unit:
        return texts
    pairs = zip(texts, figures, strict=True)
    return tuple(f"{t} {f.unit.partition('/')[0]}" if f is not None and f.value is not None else t for t, f in pairs)


SPEC = ReportSection("cost", 65, build)
