"""What the energy cost and what was charged, by site, team and million tokens."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.section import Block, Note, OmittedSection, ReportSection, ReportTable

ROWS_MOST = 15
Told = Mapping[str, Mapping[str, Figure]]
"""Figures by what they are of, by their quantity."""


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """Build tables of sites, teams and models by descending cost. Charges are shown even if no tariff gives the energy cost."""
    sites = [f for f in facts.of("cost", "site") if f.value is not None]
    blocks: list[Block] = []
    if sites:
        rows = [(f.dims["site"], _money(f), wording.span(f, say)) for f in sites]
        whole = facts.figures["cost"]
        rows.append(
            (
                say("total"),
                _money(whole) if whole.value is not None else "\u2013",
                wording.span(whole, say) if whole.value is not None else "",
            )
        )
        blocks.append(
            ReportTable(say("electricity_by_site"), (say("site"), say("cost"), say("bounds_of_the_energy")), tuple(rows))
        )
    for dimension, title in (("team", "teams"), ("model", "models")):
        blocks += _groups(facts, say, dimension, say(title))
    total = facts.figures["cost"]
    if not blocks:
        return OmittedSection(say.translate(total.reason))
    if total.reason:
        blocks.append(Note(say("no_cost_of_all", reason=say.translate(total.reason))))
    return tuple(blocks)


def _groups(facts: Facts, say: Translator, dimension: str, title: str) -> list[Block]:
    """What has a cost or a charge; the largest number first, then a row that counts the rest; then what is
    not known or not charged. Nothing where nothing has either.
    """
    amounts = {q: {f.dims[dimension]: f for f in facts.of(q, dimension)} for q in ("charged", "cost")}
    every = [*amounts["charged"].items(), *amounts["cost"].items()]
    if not any(f.value is not None for _, f in every):
        return []
    names = {name: Fraction(-1) for name, _ in every} | {name: f.value for name, f in every if f.value is not None}
    ranked = sorted(names, key=lambda name: (-names[name], name))
    rows = []
    for name in ranked[:ROWS_MOST]:
        cells = [facts.figures.get(f"{q}/{dimension}/{name}") for q in ("cost", "cost_per_million_tokens", "charged")]
        rows.append(
            (name or say("unassigned"), *(_money(f) if f is not None and f.value is not None else "\u2013" for f in cells))
        )
    if len(ranked) > ROWS_MOST:
        others = _sum([amounts["cost"].get(name) for name in ranked[ROWS_MOST:]])
        rows.append((say("count_others", count=len(ranked) - ROWS_MOST), others, "", ""))
    rest, total = facts.figures["cost.unattributed"], facts.figures["cost"]
    rows.append((say("unallocated"), _money(rest) if rest.value is not None else "\u2013", "\u2013", "\u2013"))
    charged = _sum(list(amounts["charged"].values()))
    rows.append((say("total"), _money(total) if total.value is not None else "\u2013", "\u2013", charged))
    columns = (title, say("electricity"), say("per_million_tokens"), say("charged"))
    table = ReportTable(say("cost_and_what_is_in_no_workload", title=title), columns, tuple(rows))
    return [table, *_absent(amounts, say), *_unpriced(amounts["charged"], say)]


def _absent(amounts: Told, say: Translator) -> Iterator[Note]:
    """Why cells of a table are empty, by column and reason."""
    for quantity, column in (("cost", say("electricity")), ("charged", say("charged"))):
        by_reason: dict[str, list[str]] = {}
        for name, figure in amounts[quantity].items():
            if figure.reason is not None:
                by_reason.setdefault(figure.reason, []).append(name or say("unassigned"))
        for reason, names in by_reason.items():
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


def _sum(figures: Sequence[Figure | None]) -> str:
    """What some groups cost together; a dash where one is not known, or they pay in several currencies."""
    units = {f.unit for f in figures if f is not None}
    if len(units) != 1 or not all(f is not None and f.value is not None for f in figures):
        return "\u2013"
    money = sum(((f.value or 0) for f in figures if f is not None), Fraction(0))
    return f"{wording.short(money, 4)} {units.pop()}"


def _money(figure: Figure) -> str:
    return f"{wording.short(figure.value or 0, 4)} {figure.unit.partition('/')[0]}"


SPEC = ReportSection("cost", 65, build)
