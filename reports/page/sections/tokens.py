"""Energy per token and per request in four rows, with intervals, by model and precision."""

from collections.abc import Iterator

from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.language import Translator
from reports.page.section import Block, IntervalChart, IntervalMark, Note, OmittedSection, ReportSection, ReportTable
from reports.page.sections.headline import why_no_tokens

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
    columns = (say("model"), say("tokens_generated"), say("boundary"), say("j_per_token"), say("at_least"), say("at_most"))
    rows = _rows(facts, say, "j_per_token", "tokens", models)
    blocks: list[Block] = [ReportTable(say("j_per_generated_token"), columns, rows)]
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
        columns = ("model", "requests", "boundary", "wh_per_request", "at_least", "at_most")
        rows = _rows(facts, say, "wh_per_request", "requests", models)
        yield ReportTable(say("mean_energy_per_request"), tuple(map(say, columns)), rows)
        yield Note(say("mean_of_finished_requests"))


def _rows(facts: Facts, say: Translator, identity: str, counted: str, models: list[Figure]) -> tuple[tuple[str, ...], ...]:
    """Four rows for each model."""
    rows = []
    for figure in models[:MODELS_MOST]:
        model = figure.dims["model"]
        named = (model or say("unassigned"), wording.count(figure.dims[counted]))
        for name, label in ROWS:
            cell = facts.figures[f"{identity}.{name}/model/{model}"]
            low = wording.short(cell.low, mode="down") if cell.low is not None else "\u2013"
            bounds = (low, wording.short(cell.high, mode="up") if cell.high is not None else "\u2013")
            rows.append((*named, say(label), wording.short(cell.value) if cell.value is not None else "\u2013", *bounds))
            named = ("", "")
    return tuple(rows)


SPEC = ReportSection("energy_per_token", 30, build)
