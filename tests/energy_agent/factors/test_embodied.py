"""Embodied emissions: a span over named sources, its share of a period by the calendar, and never a single result."""

import hashlib
import json
from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.factors.embodied import (
    LIFE_YEARS,
    YEAR_NS,
    Covers,
    EmbodiedEmissions,
    EmbodiedRange,
    amortised,
    embodied_range,
    summed,
    why_none,
)  # fmt: skip
from energy_agent.factors.embodied_source import COLUMNS, What, parse, shipped
from tests.support import refusal

H100, A100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB"
HOUR_NS = 3600 * 10**9


def of(sku: str, covers: Covers = Covers.GPU) -> EmbodiedRange:
    footprint = embodied_range(sku, covers)
    assert footprint is not None
    return footprint


def over(footprint: EmbodiedRange, shortest: int | Fraction, longest: int | Fraction) -> EmbodiedRange:
    return replace(footprint, life_years=(Fraction(shortest), Fraction(longest)))


def test_the_span_holds_every_published_figure_of_the_board_and_names_each() -> None:
    """1,312 kg / 8 = 164 (NVIDIA) to 575.1 (BoaviztAPI) for an H100; 127.6 (Falk) to 319.3 (BoaviztAPI) for an A100."""
    footprint = of(H100)
    assert [s.publisher for s in footprint.sources] == ["NVIDIA", "EcoLogits", "Boavizta"]
    assert all(s.boundary and s.licence and s.attribution for s in footprint.sources)
    assert (footprint.low_kg, footprint.high_kg, footprint.single) == (164, Fraction("575.1"), False)
    assert (of(A100).low_kg, of(A100).high_kg) == (Fraction("127.6"), Fraction("319.3"))
    assert (of("NVIDIA B200").low_kg, of("NVIDIA B200").single) == (Fraction("284.25"), True)  # 2,274 / 8
    for sku, ids in {
        "H100-SXM5-80GB": {"nvidia-hgx-h100", "ecologits-h100", "boaviztapi-h100"},
        "NVIDIA H100 PCIe": {"boaviztapi-h100"},  # not of an HGX board
        "NVIDIA H100 NVL": {"boaviztapi-h100"},
        "NVIDIA A100-PCIE-40GB": {"boaviztapi-a100"},
        "NVIDIA L4": {"boaviztapi-l4"},
    }.items():
        assert {s.id for s in of(sku).sources} == ids
    for sku in ("NVIDIA GH200 480GB", "NVIDIA L40S", "NVIDIA GB200", "NVIDIA H200", "PowerEdge R750", ""):
        assert embodied_range(sku) is None
        assert "give one of your own" in why_none(sku)


def test_the_server_around_it_is_a_boundary_of_its_own_and_never_less_than_the_gpu() -> None:
    """164 + 5,700 / 8 = 876.5 kg to 575.1 + 712.5 = 1,287.6 kg; the one figure of an A100 with its server is 318 kg."""
    footprint, old = of(H100, Covers.WITH_SERVER), of(A100, Covers.WITH_SERVER)
    assert (footprint.low_kg, footprint.high_kg) == (Fraction("876.5"), Fraction("1287.6"))
    assert "ecologits-p5-server" in {s.id for s in footprint.sources}
    assert (old.low_kg, old.high_kg) == (318, Fraction("319.3"))  # below the highest of the board alone


def test_a_figure_of_the_whole_life_is_in_no_span() -> None:
    (dell,) = [s for s in shipped()[1] if s.what is What.LIFE_CYCLE]
    assert (dell.kg_low, dell.kg_high) == (5870 - 2830, 5870 + 2830)
    for sku in ("R750", "NVIDIA H100 R750"):
        for covers in Covers:
            footprint = embodied_range(sku, covers)
            assert footprint is None or dell not in footprint.sources


def test_shares_of_a_life_by_hand() -> None:
    """4 years are 35,040 h, and without a declared life it is 3 to 6: 52,560 and 26,280 h."""
    emissions = amortised(over(of(H100), 4, 4), HOUR_NS)
    assert (emissions.low_g, emissions.high_g) == (Fraction(164_000, 35_040), Fraction(575_100, 35_040))
    assert (emissions.declared, emissions.reason) == (True, "")
    emissions = amortised(of(H100), 1000 * HOUR_NS)
    assert (emissions.low_g, emissions.high_g) == (Fraction(164_000_000, 52_560), Fraction(575_100_000, 26_280))
    assert (emissions.life_years, emissions.declared) == (LIFE_YEARS, False) == ((3, 6), False)


def test_one_figure_is_a_span_by_its_life_and_never_one_number() -> None:
    one = of("NVIDIA L4")
    spanned, absent = amortised(one, HOUR_NS), amortised(over(one, 5, 5), HOUR_NS)
    assert (spanned.low_g, spanned.high_g) == (Fraction(123_500, 52_560), Fraction(123_500, 26_280))
    assert (absent.low_g, absent.high_g) == (None, None)
    assert "NVIDIA L4: a single result" in absent.reason


def test_wrong_cell_of_a_table_is_reported_with_its_line() -> None:
    cells = dict.fromkeys(COLUMNS, "x") | {"what": "gpu", "gpus": "1", "kg_low": "200", "kg_high": "260"}
    page = dict.fromkeys(("id", "title", "edition", "fetched", "update", "note"), "x")
    for column, text, expected in (
        ("kg_low", "300", "300 to 260"), ("kg_low", "-1", "got '-1'"), ("kg_high", "2e9", "got '2e9'"),
        ("kg_high", "99999999", "at most 1000000 kg"), ("what", "gpus", "what: expected"), ("gpus", "0", "gpus: expected"),
    ):  # fmt: skip
        raw = f"{','.join(COLUMNS)}\n{','.join((cells | {column: text}).values())}\n".encode()
        line = refusal(parse, json.dumps(page | {"csv_sha256": hashlib.sha256(raw).hexdigest()}).encode(), raw, "mine")
        assert line.startswith("mine.csv, line 2")
        assert expected in line


def test_a_sum_is_absent_where_a_part_is_and_a_life_span_that_is_none_an_error() -> None:
    available, absent = amortised(of(H100), HOUR_NS), amortised(over(of("NVIDIA L4"), 5, 5), HOUR_NS)
    assert summed([available, absent]).reason == absent.reason
    both = summed([available, amortised(over(of(A100), 5, 5), HOUR_NS)])
    assert both.low_g == Fraction(164_000, 52_560) + Fraction(127_600, 43_800)
    assert (both.life_years, both.declared) == ((3, 6), False)
    assert summed([]) == EmbodiedEmissions(Fraction(0), Fraction(0))
    for years in ((0, 1), (5, 4)):
        assert "years" in refusal(amortised, over(of(H100), *years), HOUR_NS, error=ValueError)
    assert "-1 ns" in refusal(amortised, of(H100), -1, error=ValueError)


spans = st.lists(st.integers(0, 10**18), min_size=1, max_size=5)
lives = st.tuples(st.integers(1, 30), st.integers(1, 30)).map(sorted)


@given(spans, lives)
def test_shares_of_a_life_add_up_and_a_whole_life_is_the_whole_footprint(parts: list[int], life: list[int]) -> None:
    board = over(of(H100), *life)
    together, total = summed(amortised(board, ns) for ns in parts), amortised(board, sum(parts))
    assert (together.low_g, together.high_g) == (total.low_g, total.high_g)
    whole = amortised(over(board, life[0], life[0]), YEAR_NS * life[0])
    assert (whole.low_g, whole.high_g) == (164_000, 575_100)
