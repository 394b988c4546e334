"""Annex: every record that was typed in: meters, contracts with their retirement, tariffs, stated PUE, water, invoices."""

from typing import Final

from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.section import Block, Note, OmittedSection, ReportSection
from reports.page.tables import table
from reports.statement import StatedInput

KINDS: Final = {
    "meter": "stated_meters",
    "pue": "stated_pues",
    "contract": "stated_contracts",
    "beneficiary": "stated_beneficiaries",
    "supplier_rate": "stated_supplier_rates",
    "tariff": "stated_tariffs",
    "water": "stated_water",
    "invoice": "stated_invoices",
    "reading": "stated_readings",
    "price": "stated_prices",
    "embodied": "stated_embodied",
    "host": "stated_hosts",
}
_SHOWN: Final = 200


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """One table per kind of record."""
    blocks: list[Block] = []
    for kind, title in KINDS.items():
        records = [each for each in facts.stated_inputs if each.kind == kind]
        if rows := [(each.site or None, each.name or None, _text(each, say)) for each in records[:_SHOWN]]:
            blocks.append(table(say, title, ("site", "record", "as_stated"), rows))
        if len(records) > _SHOWN:
            blocks.append(Note(say("more_are_in_facts_json", count=len(records) - _SHOWN)))
    return tuple(blocks) or OmittedSection(say("nothing_was_stated"))


def _text(record: StatedInput, say: Translator) -> str:
    """Keys are those of the inputs, in the order of facts.json, so that its forms can be recreated. Defaults are marked."""
    default = f" ({say('default_value')})"
    return "; ".join(f"{key}: {value}{default * (key in record.defaults)}" for key, value in sorted(record.values.items()))


SPEC = ReportSection("stated_inputs", 86, build, annex=True)
