"""Energy per token and per request in four rows, with intervals, by model and precision."""

from collections.abc import Iterator

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.section import Block, IntervalChart, IntervalMark, Note, OmittedSection, ReportSection
from reports.page.sections.headline import why_no_tokens
from reports.page.tables import Cell, cell, table

ROWS = (("busy", "gpu_busy"), ("gpu", "plus_idle"), ("node", "plus_host"), ("facility", "plus_building"))
MODELS_MOST = 10


def build(facts: Facts, say: Translator) -> tuple[Block, ...] | OmittedSection:
    """A table, and a chart of the row that every model has."""
    models = sorted(
        (f for f in facts.of("j_per_token.gpu", "model")), key=lambda f: (-int(f.dims.get("tokens", "0")), f.dims["model"])
    )
    if not models:
        why, per_request = why_no_tokens(facts, say), tuple(_per_request(facts, say))  # of models that generate nothing
        return (Note(say("no_energy_per_token", reason=why)), *per_request) if per_request else OmittedSection(why)
    heads = ("model", "tokens_generated", "boundary", "j_per_token", "at_least", "at_most")
    rows = _rows(facts, say, "j_per_token", "tokens", models)
    blocks: list[Block] = [table(say, "j_per_generated_token", heads, rows)]
    ranges = [
        IntervalMark(f.dims["model"] or say("unassigned"), f.value, f.low, f.high, wording.short(f.value))
        for f in models[:MODELS_MOST]
        if f.value is not None
    ]
    if len(ranges) > 1:
        blocks.append(IntervalChart(say("gpu_energy_per_token"), "J", tuple(ranges)))
    reasons = {f.reason for name, _ in ROWS for f in facts.of(f"j_per_token.{name}", "model") if f.reason}
    blocks += [Note(say("where_a_dash_stands", reason=say.translate(reason))) for reason in sorted(reasons)]
    blocks.append(Note(say("all_four_rows_divide")))
    blocks += _per_request(facts, say)
    return tuple(blocks)


def _per_request(facts: Facts, say: Translator) -> Iterator[Block]:
    """A table of the models whose servers count requests, if there are any."""
    models = sorted(facts.of("wh_per_request.gpu", "model"), key=lambda f: (-int(f.dims["requests"]), f.dims["model"]))
    if models:
        heads = ("model", "requests", "boundary", "wh_per_request", "at_least", "at_most")
        rows = _rows(facts, say, "wh_per_request", "requests", models)
        yield table(say, "mean_energy_per_request", heads, rows)
        yield Note(say("mean_of_finished_requests"))


def _rows(facts: Facts, say: Translator, identity: str, counted: str, models: list[Figure]) -> list[tuple[Cell, ...]]:
    """Four rows for each model."""
    rows: list[tuple[Cell, ...]] = []
    for total in models[:MODELS_MOST]:
        model = total.dims["model"]
        named = (model or say("unassigned"), wording.count(total.dims[counted]))
        for name, label in ROWS:
            figure = facts.figures[f"{identity}.{name}/model/{model}"]
            low = None if figure.low is None else wording.short(figure.low, mode="down")
            high = None if figure.high is None else wording.short(figure.high, mode="up")
            rows.append((*named, say(label), cell(figure.value), low, high))
            named = ("", "")
    return rows


SPEC = ReportSection("energy_per_token", 30, build)
