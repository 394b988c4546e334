"""Every text has its id, every id a text in every language with the same fields, none is left over; facts are recognised."""

import ast
import itertools
import json
import re
import string
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases
from energy_agent.factors.equivalents import shipped
from energy_agent.ledger.rows.kinds import INT64_MAX
from energy_agent.site.building import gaps
from reports.compose import compose
from reports.figures.facts import Facts
from reports.inputs.organisation import ExpectedDevice
from reports.language import LANGUAGES, say_in, texts_in
from reports.page.document import ReportDocument
from reports.period import PeriodRequest
from reports.render.charts.legible import over_texts
from reports.render.charts.palette import KINDS
from reports.site.invoices import CUT_ENERGY, NO_ENERGY
from tests.reports import chains, golden, ledgers
from wattlens.report.build import Options, build

ROOT = Path(__file__).parents[3]
SPEAKING = [*(ROOT / "reports/page").rglob("*.py"), *(ROOT / "reports/render").rglob("*.py"), ROOT / "reports/compose.py"]
SPEAKING += [ROOT / "reports/figures/wording.py", ROOT / "reports/frameworks/datapoints.py"]
"""Files that say something."""
TELLING = sorted(
    [
        *(ROOT / "reports").rglob("*.py"),
        *(ROOT / "energy_agent").rglob("*.py"),
        *(ROOT / "wattlens/report").rglob("*.py"),
        *(ROOT / "dvfs/proof").rglob("*.py"),
        *(ROOT / "dvfs/governor").rglob("*.py"),
    ]
)
"""Files whose sentences may stand in facts."""
OTHERS = [name for name in LANGUAGES if name != "en"]
CHINESE = [chr(n) for n in (0x4E00, 0x9FFF)]


def fields(template: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(template) if name is not None)


def spoken_ids() -> Iterator[str]:
    """Ids that `say` is called with, and those that a section has for its title."""
    for path in (ROOT / "reports").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if called in ("say", "Section") and isinstance(argument := node.args[0], ast.Constant):
                yield argument.value


def sentences() -> set[str]:
    """Every text of the code, with fields in place of what is filled in."""
    return {text for path in TELLING for text in strings(path)}


def strings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)


def of_data() -> set[str]:
    """Texts of ours that stand in tables, or are put together of the words of an enumeration."""
    cited = {text for each in shipped()[1] for text in (each.edition, each.conditions)}
    bases = {str(Basis(*each)) for each in itertools.product(EmissionBoundary, Accounting, Gases)}
    return cited | bases | {f"{where}, {how}" for where in EmissionBoundary for how in ("location-based", "market-based")}


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_in_every_language_with_its_fields(language: str) -> None:
    english, other = texts_in("en"), texts_in(language)
    assert {kind: list(named) for kind, named in other.items()} == {kind: sorted(named) for kind, named in english.items()}
    for kind, named in english.items():
        for name, text in named.items():
            assert fields(text) == fields(other[kind][name]), name


def test_every_used_id_has_a_text_and_no_text_is_unused() -> None:
    texts = texts_in("en")["messages"]
    constants = {text for path in SPEAKING for text in strings(path)}
    templates = "".join(path.read_text() for path in (ROOT / "reports/templates").iterdir())
    assert len(set(spoken_ids())) > 200
    assert sorted(set(spoken_ids()) - texts.keys()) == []
    unused = {name for name in texts if name not in constants and name not in templates}
    assert sorted(name for name in unused if f"said.{name.removeprefix('page.')}" not in templates) == []


@pytest.mark.smoke
def test_no_sentence_of_facts_is_left_over() -> None:
    messages, from_code = texts_in("en")["facts"].values(), {s.replace("_", " ") for s in sentences()} | sentences()
    spelled = {s.replace("{}{}", "{}") for s in from_code if "{}" in s}
    assert sorted(m for m in messages if "{" not in m and m not in from_code | BRIDGES | of_data()) == []
    forms = {string.Formatter().vformat(s, (), _Holes()) for s in messages if "{" in s} - {f"{UNBOUNDED}{{}}"}
    assert sorted(f for f in forms - BRIDGES if not spelled & {f, f"{f}{{}}", f.removesuffix(": {}") + "{}"}) == []


BRIDGES = {
    "before: {}",
    "after: {}",
    "no PUE: {}",
    "no location-based intensity: {}",
    "no volume",
    "{} used energy but has no volume",
    "emissions on different bases are not compared: {} and {}",
    "the sites use different bases for the emissions of the grid: {} {} and {} {}",
    *(f"{text} {{}}" for text in (CUT_ENERGY, NO_ENERGY)),
    *(f"{basis}: {{}} kWh" for basis in (gaps.BELOW, gaps.READINGS, gaps.MEAN)),
}
"""Put together in reports/figures/bridge.py, reports/site/invoices.py and the measures, of several pieces."""


class _Holes(dict[str, str]):
    def __getitem__(self, key: str) -> str:
        return "{}"


@pytest.mark.parametrize("language", OTHERS)
def test_no_english_is_left_in_a_report_without_inputs(language: str, tmp_path: Path) -> None:
    """Absent figures' reasons and names of parts come from the facts."""
    ledgers.write(tmp_path / "state")
    for asked in (PeriodRequest(), PeriodRequest("2026Q3")):
        assert english_in(build(Options(str(tmp_path / "state"), asked)), language, LEDGERS) == set()


@pytest.fixture(scope="module")
def whole(golden_days: Path) -> list[Facts]:
    """The golden quarter, which has of everything; and it with a node that was never seen, and too little coverage."""
    org = golden.organisation()
    unseen = ExpectedDevice("lab", "a9", "", "", "alfa", 0, INT64_MAX)
    incomplete_org = replace(org, least_coverage=Fraction(1, 2), expected=(*org.expected, unseen))
    return [chains.facts(golden_days, each, PeriodRequest("2026Q3")) for each in (org, incomplete_org)]


USERS = ("site", "team", "project", "model", "workload", "node", "device", "contract", "sku", "run", "boundary", "reason")
"""Dims that say what a user, or the test's ledger, calls something."""
NAMES = {"Prometheus", "Protocol", "facts", "json", "wattlens", "Wattlens", "pod", "slurm", "min"}
"""What is called the same in every language."""


def texts_of(document: ReportDocument) -> list[str]:
    texts: list[str] = []

    def keep(text: str) -> str:
        texts.append(text)
        return text

    over_texts(document, keep)
    return texts


LEDGERS = frozenset({"gpu lost", "cgroup", "static", "set"})
"""What the test's ledger says."""


def english_in(facts: Facts, language: str, allowed_names: frozenset[str] = frozenset()) -> set[str]:
    """Texts of a report with English words in them but names of users, of sources and of figures, and commands."""
    phrases = set()
    texts = set(texts_of(compose(facts, say_in(language)))) - KINDS.keys() - set(say_in(language).renderer)
    names = {f.dims[key] for f in facts.figures.values() for key in USERS if key in f.dims} | facts.figures.keys()
    names |= {facts.organisation, *(text for each in shipped()[1] for text in (each.attribution, each.source))}
    names |= {s.time_zone for s in facts.sites.values()} | allowed_names
    for series in facts.grid_series:
        names |= {series.publisher, series.licence, series.zone, series.id}
    names_pattern = re.compile("|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if name))
    for text in texts:
        bare = names_pattern.sub("", re.sub("`[^`]*`|\\{\\w+\\}|[0-9a-f]{64}", "", text))
        if set(re.findall(r"[A-Za-z]*[a-z]{3,}", bare)) - NAMES:
            phrases.add(bare)
    return phrases


@pytest.mark.smoke
@pytest.mark.parametrize("language", OTHERS)
def test_no_english_is_left_in_a_whole_report(language: str, whole: list[Facts]) -> None:
    for facts in whole:
        assert english_in(facts, language) == set()


def _targets(node: ast.keyword | ast.Assign) -> set[str | None]:
    return {node.arg} if isinstance(node, ast.keyword) else {t.id for t in node.targets if isinstance(t, ast.Name)}


def reasons() -> set[str]:
    """Why figures are absent, as the code says it; what is filled in is called X."""
    texts = set()
    folders = ("figures", "site", "ledger", "frameworks")
    for path in (path for folder in folders for path in (ROOT / "reports" / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "no_quantity":
                value = node.args[0]
            elif isinstance(node, ast.keyword | ast.Assign) and {"reason", "why"} & _targets(node):
                value = node.value
            else:
                continue
            for part in (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    texts.add(part.value)
                elif isinstance(part, ast.JoinedStr):
                    texts.add("".join(str(v.value) if isinstance(v, ast.Constant) else "X" for v in part.values))
    return texts - {""}


@pytest.mark.parametrize("language", OTHERS)
def test_every_reason_for_which_a_figure_is_absent_is_translated(language: str) -> None:
    say, bases = say_in(language), "a direct, location, CO2e and b life-cycle, location, CO2e"
    assert len(reasons()) > 25
    assert (
        sorted(text for text in reasons() if not any(_foreign(say.translate(text.replace("X", x))) for x in ("X", bases))) == []
    )


def _foreign(text: str) -> bool:
    return any(CHINESE[0] <= letter <= CHINESE[1] for letter in text)


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("no PUE of fra1", "fra1没有PUE"),
        ("no PUE of fra1; no PUE of pnq1", "fra1没有PUE；pnq1没有PUE"),
        ("no PUE of fra1: no meter of role total", "fra1没有PUE：没有总量类电表"),
        ("before: no PUE: no PUE of a: no energy was metered", "之前：没有PUE：a没有PUE：没有计量到能量"),
        ("less than 90% of the window was metered", "时间窗内计量不足90%"),
        ("IT at ups_output", "UPS输出端处的IT"),
        ("only 1.10 % of 2023Q4 was metered, too little to compare with", "2023Q4仅计量了1.10 %，不足以比较"),
        ("category 1", "类别1"),
        (
            "emissions on different bases are not compared: direct, location, CO2e and life-cycle, location, CO2e",
            "不同口径的排放不作比较：直接，基于位置，CO2e与全生命周期，基于位置，CO2e",
        ),
        ("the boundary of x was gpu then, and is facility now", "x当时以GPU为边界，现在以设施为边界"),
        ("no PUE of total", "total没有PUE"),  # a site may be called as it likes
        ("what an operator wrote; by hand", "what an operator wrote; by hand"),
        ("", ""),
    ],
)
def test_a_sentence_of_the_facts_is_recognised(english: str, chinese: str) -> None:
    assert say_in("zh").translate(english) == chinese


def test_a_hostile_sentence_stays_as_it_is() -> None:
    for text in ("{reason}", "no PUE of {x.__class__}", "no PUE of " + "a" * 100_000, ": " * 900, "before: " * 200):
        assert isinstance(say_in("zh").translate(text), str)
    assert say_in("zh").translate("no PUE of {x.__class__}") == "{x.__class__}没有PUE"


def test_terms_are_those_of_the_glossary() -> None:
    """One word of the field is one word in every place."""
    terms = json.loads((ROOT / "reports/data/glossary.json").read_text())
    zh = say_in("zh").messages
    for term, message in (
        ("coverage", "coverage"), ("boundary", "boundary"), ("device", "device"), ("workload", "workload"), ("gap", "no_gaps"),
        ("location-based", "location_based"), ("market-based", "market_based"), ("idle", "held_idle"), ("method", "method"),
        ("unheld", "held_by_nobody"), ("unattributed", "not_attributed"), ("category", "category"), ("interim", "interim"),
        ("simulated", "simulated"), ("restatement", "restatements"), ("policy", "policy"), ("bounds", "bounds"),
        ("slowdown", "slower"), ("quality score", "quality_1_to_5"),
    ):  # fmt: skip
        assert terms[term]["zh"][0] in zh[message], term
