"""What reporting frameworks ask, which figures answer it, and what is missing, named once.

The frameworks are dated data (data/frameworks, one file each), in our own words: a changed edition is a new file. A datapoint
that was not found in a source says that it is not verified. What nothing here measures is an input like any other.
"""

import fnmatch
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import TypeAdapter

from reports.frameworks.rules import RULES, Answer, ReportScope


@dataclass(frozen=True, slots=True)
class Datapoint:
    """One thing that a framework asks.

    Args:
        id: as the framework names it; `id_zh` and `unit_zh` in Chinese, "": the same.
        text: what it asks, in our words; `text_zh` in Chinese.
        figures: patterns (fnmatch) of figure ids that answer it, any of them.
        needs: the input without which none does: a key of `inputs()`.
        verified: it was found in a source.
        rules: what a figure must meet in addition to having a value (rules.py).
    """

    id: str
    text: str
    text_zh: str
    unit: str
    figures: tuple[str, ...]
    needs: str
    verified: bool
    id_zh: str = ""
    unit_zh: str = ""
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework in one edition.

    Args:
        date: date of the edition, as precisely as it is known.
        state: legal state, such as "in force" or "draft".
        source: source of this information.
        first_period: first day of the periods from which the edition applies, as ISO text; "": any.
        end_period: first day of the periods for which it does not apply any more; "": none.
    """

    id: str
    title: str
    title_zh: str
    edition: str
    date: str
    state: str
    state_zh: str
    source: str
    note: str
    note_zh: str
    datapoints: tuple[Datapoint, ...]
    first_period: str = ""
    end_period: str = ""

    def covers(self, first_day: str) -> bool:
        """Whether the edition applies to a period by its first day; an unknown day excludes none."""
        if not first_day:
            return True
        return self.first_period <= first_day and not (self.end_period and first_day >= self.end_period)


@dataclass(frozen=True, slots=True)
class IndexRow:
    """A datapoint compared with a report.

    Args:
        framework: ID of the framework.
        title: title of the framework, in the reader's language, as are `datapoint`, `text` and `unit`.
        answered_by: IDs of the figures that have a value.
        missing: what is missing: reasons of absent figures, or the input that the figures need or that another value replaces;
            of a datapoint that does not apply, the reason for that, if one is known.
        estimated_by: the IDs in `answered_by` that use a substitute for the required quantity.
        texts: answers in words, such as the name of a site, by ID.
        complete: whether nothing is missing but what a substitute replaces.
        applicable: whether the datapoint applies to any site of the report; a draft has none that does.
        asked: the unit as the data have it, in any language.
    """

    framework: str
    title: str
    datapoint: str
    text: str
    unit: str
    answered_by: tuple[str, ...]
    missing: tuple[str, ...]
    verified: bool
    estimated_by: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True
    applicable: bool = True
    asked: str = ""

    @property
    def state(self) -> Literal["answered", "estimated", "partly", "estimated_partly", "not_applicable", "missing"]:
        """Whether figures answer it; partly: something else is missing too; estimated: a substitute is in those that do."""
        if not self.applicable:
            return "not_applicable"
        if not self.answered_by and not self.texts:
            return "missing"
        if self.estimated_by:
            return "estimated" if self.complete else "estimated_partly"
        return "answered" if self.complete else "partly"


@cache
def frameworks() -> tuple[Framework, ...]:
    """All frameworks, by id."""
    entries = files("reports.frameworks").joinpath("data").iterdir()
    read = TypeAdapter(Framework).validate_json
    return tuple(read(each.read_bytes()) for each in sorted(entries, key=lambda each: each.name) if each.name.endswith(".json"))


@cache
def inputs() -> Mapping[str, Mapping[str, str]]:
    """What a datapoint may need: id -> language -> words."""
    text = files("reports.frameworks").joinpath("inputs.json").read_text(encoding="utf-8")
    texts: dict[str, dict[str, str]] = json.loads(text)
    return texts


def index(
    figures: Mapping[str, str],
    language: str = "en",
    stand_ins: Mapping[str, tuple[str, ...]] | None = None,
    scope: ReportScope | None = None,
) -> tuple[IndexRow, ...]:
    """Each datapoint of each framework against a report's figures.

    Args:
        figures: figure id -> why it is absent; "": it has a value.
        language: of the texts: en | zh.
        stand_ins: ids of figures in which a substitute replaces the required quantity, such as the grid's average the residual
            mix -> keys of `inputs()` that it replaces; (): what the datapoint needs.
        scope: period and sites of the report; by default a year, of sites to which everything applies.
    """
    report = replace(scope or ReportScope(), stand_ins=stand_ins or {})
    figures = dict.fromkeys(report.texts, "") | dict(figures)
    ids = sorted(figures)
    matches = cache(lambda pattern: frozenset(fnmatch.filter(ids, pattern)))
    rows = []
    for framework in frameworks():
        for point in framework.datapoints:
            matching = sorted(frozenset[str]().union(*map(matches, point.figures)))
            rows.append(_row(framework, point, {i: figures[i] for i in matching}, language, report))
    return tuple(rows)


def group_missing(rows: Iterable[IndexRow]) -> dict[str, list[tuple[str, str]]]:
    """What is missing, each named once -> (title, datapoint) of all for which it is; what lacks most often first."""
    by_input: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        for what in row.missing if row.applicable else ():
            by_input.setdefault(what, []).append((row.title, row.datapoint))
    return dict(sorted(by_input.items(), key=lambda item: (-len(item[1]), item[0])))


def _row(framework: Framework, point: Datapoint, figures: Mapping[str, str], language: str, scope: ReportScope) -> IndexRow:
    answer = Answer(figures)
    outside = framework.state == "draft" or not framework.covers(scope.first_day)
    for rule in (*(("not_applicable",) if outside else ()), *point.rules):
        answer = RULES[rule](answer, scope)
    texts = {i: scope.texts[i] for i in answer.figures if i in scope.texts}
    answered = tuple(i for i, reason in answer.figures.items() if not reason and i not in texts)
    needs = [inputs()[need][language] for need in answer.missing]
    missing = [reason for reason in answer.figures.values() if reason]
    complete = not missing and not needs
    estimated = tuple(i for i in answered if i in scope.stand_ins)
    replaced = [key for i in estimated for key in scope.stand_ins[i] or (point.needs,)]
    if answer.applicable:
        needs += [inputs()[key][language] for key in (replaced if answer.figures or needs else [point.needs])]
    names = (framework.title, point.id, point.text, point.unit)
    if language == "zh":
        names = (framework.title_zh, point.id_zh or point.id, point.text_zh, point.unit_zh or point.unit)
    every = tuple(dict.fromkeys([*missing, *needs]))
    return IndexRow(
        framework.id, *names, answered, every, point.verified, estimated, texts, complete, answer.applicable, point.unit
    )
