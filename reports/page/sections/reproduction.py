"""How to make this report again: what it was made of."""

import hashlib

from reports.figures.facts import Facts
from reports.language import Say
from reports.page.section import Block, Note, Section, Table


def build(facts: Facts, say: Say) -> tuple[Block, ...]:
    """Hashes, and the command."""
    digest = hashlib.sha256(
        "\n".join(f"{d.site} {d.day} {d.statement} {d.inputs_sha256}" for d in facts.days).encode()
    ).hexdigest()
    rows = [
        (say("Program"), f"wattlens {facts.version}"),
        (say("Days of the ledger"), str(len(facts.days))),
        (say("SHA-256 over them"), digest),
        *((name, sha256) for name, sha256 in facts.files),
        *((used.factor.id, used.sha256) for used in facts.factors),
    ]
    text = (
        "`wattlens report verify DIR --ledger URL` checks every file of this report against its "
        "manifest, and makes the facts again."
    )
    return (Table(say("Made of"), (), tuple(rows)), Note(say(text)))


SPEC = Section("Reproduction", 97, build, wide=True)
