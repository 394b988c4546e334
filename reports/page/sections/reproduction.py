"""How to make this report again: what it was made of."""

import hashlib

from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.section import Block, Note, ReportSection, ReportTable


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """Hashes, and the command."""
    digest = hashlib.sha256(
        "\n".join(f"{d.site} {d.day} {d.statement} {d.inputs_sha256}" for d in facts.days).encode()
    ).hexdigest()
    rows = [
        (say("program"), f"wattlens {facts.version}"),
        (say("days_of_the_ledger"), str(len(facts.days))),
        (say("sha_256_over_them"), digest),
        *((name, sha256) for name, sha256 in facts.files),
        *((used.factor.id, used.sha256) for used in facts.factors),
    ]
    return (ReportTable(say("made_head"), (), tuple(rows)), Note(say("wattlens_report_verify_dir_ledger")))


SPEC = ReportSection("reproduction", 97, build, annex=True)
