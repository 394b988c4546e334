"""Embodied emissions: a span over named sources, its share of a period by the calendar, and never one number."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import UsageError
from energy_agent.factors.embodied import (
    LIFE_YEARS,
    YEAR_NS,
    Covers,
    Embodied,
    EmbodiedRange,
    amortised,
    at_purchase,
    embodied_range,
    summed,
    why_none,
)  # fmt: skip
from energy_agent.factors.embodied_source import Source, What, own_source, shipped

H100, A100 = "NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB"
HOUR_NS = 3600 * 10**9


def of(sku: str, covers: Covers = Covers.GPU, *own: Source) -> EmbodiedRange:
    found = embodied_range(sku, covers, own)
    assert found is not None
    return found


def mine(**change: str) -> Source:
    cells = {"sku": "H100", "low_kg": "200", "high_kg": "260", "boundary": "cradle to gate", "source": "our supplier"} | change
    return own_source(**cells, where="inventory.xlsx, embodied, row 4")


def test_the_span_holds_every_published_figure_and_names_each() -> None:
    """1,312 kg / 8 = 164 (NVIDIA) to 575.1 (BoaviztAPI) for an H100; 127.6 (Falk) to 319.3 (BoaviztAPI) for an A100."""
    found = of(H100)
    assert (found.low_kg, found.high_kg) == (164, Fraction("575.1"))
    assert [s.publisher for s in found.sources] == ["NVIDIA", "EcoLogits", "Boavizta"]
    assert all(s.boundary and s.licence and s.attribution for s in found.sources)
    assert (of(A100).low_kg, of(A100).high_kg) == (Fraction("127.6"), Fraction("319.3"))
    assert of("NVIDIA B200").low_kg == Fraction("284.25")  # 2,274 / 8
    assert not found.single
    assert of("NVIDIA B200").single


def test_the_server_around_it_is_a_boundary_of_its_own() -> None:
    """164 + 5,700 / 8 = 876.5 kg to 575.1 + 712.5 = 1,287.6 kg."""
    found = of(H100, Covers.WITH_SERVER)
    assert (found.low_kg, found.high_kg) == (Fraction("876.5"), Fraction("1287.6"))
    assert "ecologits-p5-server" in {s.id for s in found.sources}


def test_a_gpu_with_its_server_is_never_less_than_without() -> None:
    """The one figure of an A100 with its server (318 kg) is below the highest of the board alone (319.3 kg)."""
    found = of(A100, Covers.WITH_SERVER)
    assert (found.low_kg, found.high_kg) == (318, Fraction("319.3"))


@pytest.mark.parametrize(
    ("sku", "ids"),
    [
        ("H100-SXM5-80GB", {"nvidia-hgx-h100", "ecologits-h100", "boaviztapi-h100"}),
        ("NVIDIA H100 PCIe", {"boaviztapi-h100"}),  # not of an HGX board
        ("NVIDIA H100 NVL", {"boaviztapi-h100"}),
        ("NVIDIA A100-PCIE-40GB", {"boaviztapi-a100"}),
        ("NVIDIA L4", {"boaviztapi-l4"}),
    ],
)
def test_a_figure_is_taken_for_the_boards_that_it_is_of(sku: str, ids: set[str]) -> None:
    assert {s.id for s in of(sku).sources} == ids


@pytest.mark.parametrize("sku", ["NVIDIA GH200 480GB", "NVIDIA L40S", "NVIDIA GB200", "NVIDIA H200", "PowerEdge R750", ""])
def test_what_nobody_published_is_absent_with_what_to_do(sku: str) -> None:
    assert embodied_range(sku) is None
    assert "give one of your own" in why_none(sku)


def test_a_figure_of_the_whole_life_is_in_no_span() -> None:
    (dell,) = [s for s in shipped()[1] if s.what is What.LIFE_CYCLE]
    assert (dell.kg_low, dell.kg_high) == (5870 - 2830, 5870 + 2830)
    for sku in ("R750", "NVIDIA H100 R750"):
        for covers in Covers:
            found = embodied_range(sku, covers)
            assert found is None or dell not in found.sources


def test_an_hour_of_four_years_by_hand() -> None:
    """4 years are 35,040 h: 164,000 g / 35,040 = 4.6804 g and 575,100 g / 35,040 = 16.4127 g, for one GPU and hour."""
    found = amortised(of(H100), HOUR_NS, Fraction(4), Fraction(4))
    assert (found.low_g, found.high_g) == (Fraction(164_000, 35_040), Fraction(575_100, 35_040))
    assert (found.declared, found.reason) == (True, "")


def test_without_a_declared_life_span_it_is_3_to_6_years_and_said() -> None:
    """Least: 164,000 g over 52,560 h. Most: 575,100 g over 26,280 h. 10 GPUs for 100 h are 1,000 GPU-hours."""
    found = amortised(of(H100), 1000 * HOUR_NS)
    assert (found.low_g, found.high_g) == (Fraction(164_000_000, 52_560), Fraction(575_100_000, 26_280))
    assert (found.life_years, found.declared) == (LIFE_YEARS, False) == ((3, 6), False)


def test_one_figure_is_a_span_by_its_life_and_never_one_number() -> None:
    one = of("NVIDIA L4")
    spanned = amortised(one, HOUR_NS)
    assert (spanned.low_g, spanned.high_g) == (Fraction(123_500, 52_560), Fraction(123_500, 26_280))
    absent = amortised(one, HOUR_NS, Fraction(5), Fraction(5))
    assert (absent.low_g, absent.high_g) == (None, None)
    assert "NVIDIA L4: one number would hide what is not known" in absent.reason
    assert at_purchase(one, 3).low_g is None


def test_at_purchase_all_of_it_counts() -> None:
    """16 H100: 16 x 164 kg = 2,624 kg to 16 x 575.1 kg = 9,201.6 kg."""
    found = at_purchase(of(H100), 16)
    assert (found.low_g, found.high_g) == (2_624_000, 9_201_600)


def test_a_users_own_figure_replaces_ours_with_its_life_span() -> None:
    found = of(H100, Covers.GPU, mine(life_years="4-5"))
    assert (found.low_kg, found.high_kg, found.life_years) == (200, 260, (4, 5))
    assert [s.source for s in found.sources] == ["our supplier"]
    share = amortised(found, HOUR_NS)
    assert (share.low_g, share.high_g, share.declared) == (Fraction(200_000, 43_800), Fraction(260_000, 35_040), True)
    assert of(A100, Covers.GPU, mine()) == of(A100)


def test_an_own_figure_of_a_part_joins_ours_of_the_other() -> None:
    """Own server of 8 GPUs, 4,000 to 8,000 kg: 500 to 1,000 kg a GPU beside the published 164 to 575.1 kg."""
    server = mine(low_kg="4000", high_kg="8000", what="server_without_gpus", gpus="8")
    found = of(H100, Covers.WITH_SERVER, server)
    assert (found.low_kg, found.high_kg) == (664, Fraction("1575.1"))
    both = of(H100, Covers.WITH_SERVER, mine(low_kg="900", high_kg="1000", what="gpu_with_server"), server)
    assert (both.low_kg, both.high_kg) == (900, 1000)
    assert of(H100, Covers.GPU, server) == of(H100)


def test_an_own_figure_of_a_part_leaves_out_published_ones_of_both_together() -> None:
    """Own server, 500 to 1,000 kg a GPU, and a published A100: 627.6 to 1,319.3 kg; not the 318 kg of another's server."""
    server = mine(sku="A100", low_kg="4000", high_kg="8000", what="server_without_gpus", gpus="8")
    found = of(A100, Covers.WITH_SERVER, server)
    assert (found.low_kg, found.high_kg) == (Fraction("627.6"), Fraction("1319.3"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"low_kg": "300"}, "300 to 260 kg is no span"),
        ({"low_kg": "-1"}, "kg_low: '-1' is no number above 0"),
        ({"high_kg": "2e9"}, "kg_high: '2e9' is no number above 0"),
        ({"high_kg": "99999999"}, "is no span of at most 1000000 kg"),
        ({"sku": " - "}, "sku must name a device"),
        ({"boundary": ""}, "boundary must be one line"),
        ({"source": "a\nb"}, "source must be one line"),
        ({"life_years": "0"}, "life_years: '0' is no number above 0"),
        ({"life_years": "6-4"}, "life_years '6-4' must be such as 5 or 4-6"),
        ({"life_years": "400"}, "at most 30"),
        ({"what": "gpus"}, "what must be one of gpu, board"),
        ({"what": "life_cycle"}, "holds its use already"),
        ({"gpus": "0"}, "gpus must be a whole number from 1 on"),
    ],
)
def test_a_wrong_cell_is_told_with_its_row(change: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        mine(**change)
    assert str(caught.value).startswith("inventory.xlsx, embodied, row 4")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sum_is_absent_where_a_part_is() -> None:
    parts = [amortised(of(H100), HOUR_NS), amortised(of("NVIDIA L4"), HOUR_NS, Fraction(5), Fraction(5))]
    assert summed(parts).reason == parts[1].reason
    both = summed([parts[0], amortised(of(A100), HOUR_NS, Fraction(5), Fraction(5))])
    assert both.low_g == Fraction(164_000, 52_560) + Fraction(127_600, 43_800)
    assert (both.life_years, both.declared) == ((3, 6), False)
    assert summed([]) == Embodied(Fraction(0), Fraction(0))


spans = st.lists(st.integers(0, 10**18), min_size=1, max_size=5)
lives = st.tuples(st.integers(1, 30), st.integers(1, 30)).map(sorted)


@given(spans, lives)
def test_shares_of_a_life_add_up_and_a_whole_life_is_the_whole_footprint(parts: list[int], life: list[int]) -> None:
    board, (shortest, longest) = of(H100), (Fraction(y) for y in life)
    each = [amortised(board, ns, shortest, longest) for ns in parts]
    together, total = summed(each), amortised(board, sum(parts), shortest, longest)
    assert (together.low_g, together.high_g) == (total.low_g, total.high_g)
    whole = amortised(board, YEAR_NS * life[0], Fraction(life[0]), Fraction(life[0]))
    assert (whole.low_g, whole.high_g) == (164_000, 575_100)


@pytest.mark.parametrize("years", [(Fraction(0), Fraction(1)), (Fraction(5), Fraction(4)), (Fraction(4), None)])
def test_a_life_span_that_is_none_is_an_error(years: tuple[Fraction, Fraction | None]) -> None:
    with pytest.raises(ValueError, match="years"):
        amortised(of(H100), HOUR_NS, *years)
    with pytest.raises(ValueError, match="-1 ns"):
        amortised(of(H100), -1)
