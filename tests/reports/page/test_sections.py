"""Content of sections: distinguishable rows, valid reasons, one period for sites whose days differ."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.boundary import host
from energy_agent.core.energy import State, Tokens, WorkloadFacts
from energy_agent.factors.basis import Basis, EmissionBoundary, Gases
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from reports.compose import compose
from reports.figures.facts import Facts
from reports.figures.figure import ESTIMATED_SHARE
from reports.frameworks.answers import datapoint_answers
from reports.inputs.organisation import ExpectedDevice, Organisation, SiteInputs
from reports.language import say_in
from reports.page.document import ReportDocument
from reports.page.section import Heat, Note, ReportTable, Tiles, Waterfall
from reports.period import PeriodRequest
from tests.reports import chains
from tests.reports.chains import DAY, HOUR
from tests.reports.golden import DIRECT, at, cells, constant

JULY = at("2026-07-01")
QUARTER = PeriodRequest("2026Q3")
TEAM = {"team": "nlp", "name": "chat"}


def facts(
    folder: Path, sites: dict[str, list[Batch]], asked: PeriodRequest = QUARTER, inputs: dict[str, SiteInputs] | None = None
) -> Facts:
    """A node with one GPU at each site."""
    stands = []
    for name, batches in sites.items():
        metadata = Batch(devices=[DeviceFacts(f"GPU-{name}", "H100", 0.02, JULY)])
        chains.write(folder / "segments", "lab", name, [metadata, *batches])
        stands.append(ExpectedDevice("lab", name, f"GPU-{name}", "", name, 0, INT64_MAX))
    organisation = Organisation(expected=tuple(stands), least_coverage=Fraction(0), sites=inputs or {})
    days = chains.compacted(folder / "segments", folder / "days", organisation.stays())
    return chains.facts(days, organisation, asked)


def batch_of(site: str, kwh: str, day: int = 0, **labels: str) -> Batch:
    """Return an hour of the workload `w`, with these labels from its start on."""
    start = JULY + day * DAY
    entries = cells(start, f"GPU-{site}", "w", State.ACTIVE, [kwh] * 4, 0)
    return Batch(entries, facts=[WorkloadFacts("w", start, "pod", TEAM | labels)])


def table(document: ReportDocument, caption: str) -> ReportTable:
    blocks = [b for section in document.sections for b in section.blocks]
    return next(b for b in blocks if isinstance(b, ReportTable) and b.caption == caption)


def tile(document: ReportDocument, label: str) -> tuple[str, str]:
    tiles = next(b for section in document.sections for b in section.blocks if isinstance(b, Tiles)).tiles
    return next((t.value, t.detail) for t in tiles if t.label == label)


def test_same_name_at_two_sites_is_distinguished_by_site(tmp_path: Path) -> None:
    document = compose(facts(tmp_path, {"one": [batch_of("one", "0.5")], "two": [batch_of("two", "0.25")]}), say_in("en"))
    used = table(document, "Workloads with the most energy")
    assert used.columns[:4] == ("Workload", "Team", "Site", "GPU energy, kWh")
    assert [row[:4] for row in used.rows] == [("chat", "nlp", "one", "2.000"), ("chat", "nlp", "two", "1.000")]


@pytest.mark.parametrize(
    ("metered", "stated", "title", "levels"),
    [
        ((), (), "all GPUs", [4]),
        (("one", "two"), (), "all nodes", [4, 8]),
        (("one", "two"), ("one", "two"), "the building", [4, 8, 12]),
        (("one",), ("one",), "each site's widest boundary", [4, 8]),
        (("one", "two"), ("one",), "each site's widest boundary", [4, 10]),
    ],
)
def test_the_chart_of_energy_ends_at_the_widest_boundaries(
    tmp_path: Path, metered: tuple[str, ...], stated: tuple[str, ...], title: str, levels: list[int]
) -> None:
    """Each of two sites has 2 kWh of a GPU, and if they are known 2 kWh of its host; a PUE of 1.5 adds 2 kWh."""
    batches, inputs = {}, {}
    for name in ("one", "two"):
        entries = cells(JULY, f"GPU-{name}", "w", State.ACTIVE, ["0.5"] * 4, 0)
        device = host("lab", name)
        if name in metered:
            entries += cells(JULY, device, "w", State.ACTIVE, ["0.5"] * 4, 0)
        batches[name] = [Batch(entries, devices=[DeviceFacts(device, "meter", 0.02, JULY)] if name in metered else ())]
        pue = (Fraction(3, 2), Fraction(1, 10)) if name in stated else None
        inputs[name] = SiteInputs(name, ZoneInfo("UTC"), stated=pue)
    report_facts = facts(tmp_path, batches, inputs=inputs)
    blocks = [b for section in compose(report_facts, say_in("en")).sections for b in section.blocks]
    chart = next(b for b in blocks if isinstance(b, Waterfall) and b.title.startswith("Energy from running kernels"))
    assert chart.title == f"Energy from running kernels to {title}"
    assert [step.amount for step in chart.steps if step.level] == levels
    assert levels[-1] * 3_600_000 == next(
        report_facts.figures[name].value
        for name in ("energy.facility", "energy.inventory")
        if report_facts.figures[name].value is not None
    )


def test_same_name_before_and_after_a_change_is_distinguished_by_the_change(tmp_path: Path) -> None:
    batches = [batch_of("one", "0.5", project="a"), batch_of("one", "0.25", 2, project="b")]
    used = table(compose(facts(tmp_path, {"one": batches}), say_in("en")), "Workloads with the most energy")
    assert used.columns[:3] == ("Workload", "Team", "GPU energy, kWh")  # one site needs no name
    assert [row[:3] for row in used.rows] == [("chat (a)", "nlp", "2.000"), ("chat (b)", "nlp", "1.000")]


@pytest.mark.parametrize(
    ("tokens", "why"), [({}, "no tokens in the ledger"), ({"prompt": 5, "generation": 0}, "no token was generated")]
)
def test_why_there_is_no_energy_per_token(tmp_path: Path, tokens: dict[str, int], why: str) -> None:
    counted = [Tokens(JULY, JULY + HOUR, "w", "m", phase, n) for phase, n in tokens.items()]
    document = compose(facts(tmp_path, {"one": [replace(batch_of("one", "0.5"), tokens=counted)]}), say_in("en"))
    assert tile(document, "Energy per 1,000 tokens") == ("not known", why)
    assert dict(document.hidden)["Energy per token"] == why


def test_the_tile_of_scope_2_states_the_share_of_estimates(tmp_path: Path) -> None:
    inputs = SiteInputs("one", ZoneInfo("UTC"), location=(constant("grid", DIRECT, 400),), location_lacking="")
    report_facts = facts(tmp_path, {"one": [batch_of("one", "0.5")]}, inputs={"one": inputs})
    located = report_facts.figures["co2e.location"]
    estimate = replace(located, dims={**located.dims, ESTIMATED_SHARE: "0.4"})
    for figure, share in ((located, ""), (estimate, "40.0 % is an estimate; ")):
        document = compose(replace(report_facts, figures={**report_facts.figures, figure.id: figure}), say_in("en"))
        _, detail = tile(document, "Scope 2, location-based")
        assert detail.replace("\u202f", " ").startswith(f"CO2e, GHG Protocol; {share}bounds: ")


def test_emissions_of_co2_alone_are_not_called_co2e(tmp_path: Path) -> None:
    """Factors of China, India, Japan and Singapore count CO2 alone; Scope 2 in CO2e is answered in part."""
    source = constant("grid", Basis(EmissionBoundary.DIRECT, gases=Gases.CO2), 400)
    inputs = {"one": SiteInputs("one", ZoneInfo("UTC"), location=(source,), location_lacking="")}
    report_facts = facts(tmp_path, {"one": [batch_of("one", "0.5")]}, inputs=inputs)
    _, detail = tile(compose(report_facts, say_in("en")), "Scope 2, location-based")
    assert detail.startswith("CO2 alone, without CH4 and N2O, GHG Protocol; bounds: ")
    row = next(
        a for a in datapoint_answers(report_facts) if (a.framework, a.datapoint) == ("ghg-protocol", "Scope 2, location-based")
    )
    assert "CH4 and N2O of the grid: factors of CO2e" in row.missing


def test_tokens_without_energy_have_a_reason_of_their_own_and_are_in_no_count(tmp_path: Path) -> None:
    """w has 2,000 Wh and 10 tokens; of v, whose node has no agent, only its server's 90 tokens are known."""
    of_v = [WorkloadFacts("v", JULY, "pod", {"team": "other"})]
    tokens = [Tokens(JULY, JULY + HOUR, name, "m", "generation", count) for name, count in (("w", 10), ("v", 90))]
    alone = replace(batch_of("one", "0.5"), tokens=tokens[1:])
    document = compose(facts(tmp_path / "alone", {"one": [Batch([], facts=of_v), alone]}), say_in("en"))
    why = "tokens were generated, but no energy of these workloads is recorded"
    assert tile(document, "Energy per 1,000 tokens") == ("not known", why)
    both = replace(batch_of("one", "0.5"), tokens=tokens)
    document = compose(facts(tmp_path / "both", {"one": [Batch([], facts=of_v), both]}), say_in("en"))
    value, detail = tile(document, "Energy per 1,000 tokens")
    assert (value, detail.startswith("10 generated tokens")) == ("200\u202f000 Wh", True)


def test_energy_per_request_is_over_the_requests_of_servers_that_count_them(tmp_path: Path) -> None:
    """0.5 kWh in each of four cells are 2,000 Wh: for 8 requests of m 250 Wh each; the server of n counts none."""
    one = Tokens(JULY, JULY + HOUR, "w", "m", "generation", 5)
    counted = [one, replace(one, phase="request", tokens=8)]
    other = Batch(
        cells(JULY + DAY, "GPU-one", "v", State.ACTIVE, ["0.25"] * 4, 0),
        facts=[WorkloadFacts("v", JULY + DAY, "pod", TEAM)],
        tokens=[Tokens(JULY + DAY, JULY + DAY + HOUR, "v", "n", "generation", 5)],
    )
    report_facts = facts(tmp_path, {"one": [replace(batch_of("one", "0.5"), tokens=counted), other]})
    assert report_facts.figures["wh_per_request.gpu/model/m"].value == 250
    assert report_facts.figures["requests/model/m"].value == 8
    assert not report_facts.by_prefix("tokens.request")
    assert [(f.value, f.unit) for f in report_facts.by_prefix("requests.allocated/")] == [(8, "requests")]
    assert report_facts.figures["wh_per_request.gpu"].value == 250
    used = table(compose(report_facts, say_in("en")), "Wh per request, mean by model")
    assert [row[0] for row in used.rows] == ["m", "", "", ""]
    assert used.rows[1][1:4] == ("", "+ idle", "250")


@pytest.mark.parametrize(
    ("phases", "why"),
    [
        (("request",), "no tokens in the ledger"),
        (("prompt", "request"), "no token was generated"),
        (("generation", "request"), "no token was generated"),
    ],
)
def test_a_model_that_generates_nothing_has_energy_per_request(tmp_path: Path, phases: tuple[str, ...], why: str) -> None:
    """An embedding server: 2,000 Wh for 8 requests; vLLM's counter of generated tokens stays at 0."""
    counts = {"prompt": 500, "generation": 0, "request": 8}
    counted = [Tokens(JULY, JULY + HOUR, "w", "bge-m3", phase, counts[phase]) for phase in phases]
    report_facts = facts(tmp_path, {"one": [replace(batch_of("one", "0.5"), tokens=counted)]})
    assert report_facts.figures["wh_per_request.gpu/model/bge-m3"].value == 250
    assert not report_facts.by_prefix("j_per_token.gpu/model/")
    document = compose(report_facts, say_in("en"))
    used = table(document, "Wh per request, mean by model")
    assert used.rows[1][1:4] == ("", "+ idle", "250")
    (section,) = (s for s in document.sections if s.title == "Energy per token")
    assert isinstance(section.blocks[0], Note)
    assert section.blocks[0].text == f"No energy per token: {why}."


def test_models_without_energy_per_token_leave_that_of_the_total(tmp_path: Path) -> None:
    """0.5 kWh in each of four cells are 2,000 Wh for 10 tokens: 200,000 Wh per 1,000 tokens."""
    counted = [Tokens(JULY, JULY + HOUR, "w", model, "generation", 5) for model in ("m", "n")]
    report_facts = facts(tmp_path, {"one": [replace(batch_of("one", "0.5"), tokens=counted)]})
    absent = {
        f.id: replace(f, value=None, low=None, high=None, reason=f.id)
        for f in report_facts.by_prefix("j_per_token.")
        if "model" in f.dims
    }
    for language, count in (("en", "10 generated tokens"), ("zh", "生成词元10")):
        document = compose(replace(report_facts, figures={**report_facts.figures, **absent}), say_in(language))
        value, detail = tile(document, say_in(language)("energy_per_1000_tokens"))
        assert (value, detail.startswith(count)) == ("200\u202f000 Wh", True)


def test_shades_of_metered_time_go_to_all_of_it_and_no_further(tmp_path: Path) -> None:
    batches = [batch_of("one", "0.5", day) for day in range(21)]
    document = compose(facts(tmp_path, {"one": batches}, PeriodRequest(None, "2026-07-01", "2026-07-22")), say_in("en"))
    grid = next(
        b for s in document.sections for b in s.blocks if isinstance(b, Heat) and b.title.startswith("Metered device time")
    )
    assert {value for row in grid.values for value in row} == {Fraction(100)}
    assert grid.most == Fraction(100)


def test_sites_with_different_days_have_the_widest_period_at_the_top(tmp_path: Path) -> None:
    """Site one's ledger ends on 2 July, that of site two on the first, at one o'clock either."""
    ends = {"one": [batch_of("one", "0.5"), batch_of("one", "0.5", 1)], "two": [batch_of("two", "0.5")]}
    assert compose(facts(tmp_path / "both", ends), say_in("en")).period == "2026-07-01 \u2013 2026-07-02"
    alike = {"one": [batch_of("one", "0.5")], "two": [batch_of("two", "0.5")]}
    assert compose(facts(tmp_path / "alike", alike), say_in("en")).period == "2026-07-01, 00:00:00 \u2013 01:00:00"
