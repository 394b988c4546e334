"""The words of this report, in a sentence each."""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from reports.figures.facts import Facts
from reports.language import Translator
from reports.page.section import Block, ReportSection, ReportTable


@cache
def terms() -> Mapping[str, Mapping[str, tuple[str, str]]]:
    """Term -> language -> (name, sentence), in the order of the file: what belongs together stands together."""
    text = files("reports").joinpath("data/glossary.json").read_text(encoding="utf-8")
    entries: dict[str, dict[str, list[str]]] = json.loads(text)
    return {term: {lang: (name, definition) for lang, (name, definition) in of.items()} for term, of in entries.items()}


def glossary(language: str = "en") -> tuple[tuple[str, str], ...]:
    """(name, sentence) of every term: en by name, zh in the order of the file."""
    rows = [of[language] for of in terms().values()]
    return tuple(sorted(rows, key=lambda row: row[0].lower()) if language == "en" else rows)


def used_in(text: str, rows: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
    """Rows whose name, or one of several in it, occurs in a text; in English as a word, in singular or plural."""
    words = text.lower()

    def occurs(name: str) -> bool:
        spelled = re.escape(name.lower())
        return re.search(rf"(?<!\w){spelled}(s|es)?(?!\w)" if name.isascii() else spelled, words) is not None

    return tuple(row for row in rows if any(map(occurs, re.split(", |\u3001", row[0]))))


def build(facts: Facts, say: Translator) -> tuple[Block, ...]:
    """A table of two columns."""
    return (ReportTable(say("words"), (), glossary(say.language)),)


SPEC = ReportSection("glossary", 98, build, annex=True)
