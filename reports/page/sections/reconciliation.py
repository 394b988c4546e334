"""Invoices of the supplier against readings of its meters and against the ledger, by the periods of the invoices."""

from decimal import ROUND_CEILING, Decimal
from fractions import Fraction

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.section import Block, Note, OmittedSection, ReportSection
from reports.page.tables import table, with_unit

_KWH = Fraction(1, 3_600_000)
_STATES = {
    "finding": "state_finding",
    "uncertain": "state_uncertain",
    "agrees": "state_agrees",
    "part of it": "state_part",
    "not compared": "state_open",
}


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """Build one table of all sites: energy in kWh three ways, and the two differences in percent."""
    figures = facts.by_prefix("reconciliation/")
    if not figures:
        return OmittedSection("")  # optional: its absence is not stated
    energies = (with_unit(say, head, "kWh") for head in ("invoiced", "supply_meter", "in_the_ledger"))
    differences = (with_unit(say, head, "%") for head in ("invoice_against_meter", "ledger_against_invoice"))
    heads = ("site", "invoice_period", *energies, *differences, "finding")
    threshold = wording.percent(figures[0].dims["threshold"])
    blocks: list[Block] = [table(say, "reconciliation", heads, (cells(f, say) for f in figures))]
    for state, sentence in (("finding", "reconciliation_findings"), ("uncertain", "reconciliation_uncertain")):
        if off := [f"{f.dims['site']} {f.dims['start']}" for f in figures if f.dims["state"] == state]:
            text = say(sentence, count=len(off), all=len(figures), threshold=threshold, periods=", ".join(off))
            blocks.append(Note(text))
    if len(blocks) == 1:
        compared = any(f.dims["state"] != "not compared" for f in figures)
        agrees = "reconciliation_agrees" if compared else "reconciliation_not_possible"
        blocks.append(Note(say(agrees, threshold=threshold)))
    short = {f.dims["site"]: f.dims["ledger_boundary"] for f in figures if "ledger_j" in f.dims}
    for boundary in sorted(set(short.values()) - {"facility"}):
        sites = ", ".join(site for site, reached in short.items() if reached == boundary)
        blocks.append(Note(say("ledger_ends_before_building", boundary=say.translate(boundary), sites=sites)))
    return tuple(blocks)


def cells(figure: Figure, say: Translator) -> tuple[str, ...]:
    """One row: site, period, three energies in kWh, two differences in percent, and what follows from them."""
    dims = figure.dims

    def energy(key: str) -> str:
        return _kwh(Fraction(dims[key])) if key in dims else "\u2013"

    def variance(key: str) -> str:
        if key not in dims:
            return "\u2013"
        value, low, high = (100 * Decimal(dims[name]) for name in (key, f"{key}_low", f"{key}_high"))
        error = max(value - low, high - value).quantize(Decimal("0.01"), ROUND_CEILING)
        return wording.signed(Fraction(value), lambda size: wording.fixed(size, 2)) + (f" \u00b1{error}" if error else "")

    state = say(_STATES[dims["state"]], threshold=wording.percent(dims["threshold"]))
    period = f"{dims['start']} \u2013 {dims['end']}"
    values = (_kwh(figure.value or Fraction(0)), energy("meter_j"), energy("ledger_j"))
    return (dims["site"], period, *values, variance("meter_variance"), variance("ledger_variance"), state)


def _kwh(joules: Fraction) -> str:
    return wording.fixed(joules * _KWH, 2)


SPEC = ReportSection("reconciliation", 67, build)
