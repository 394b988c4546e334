"""A CSV of intensities: our columns, Electricity Maps' own, and what hostile or careless files make of it."""

from decimal import Decimal

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.factors.basis import Boundary
from energy_agent.factors.series_csv import parse

HEAD = "ts_utc,zone,g_per_kwh,kind,estimated,method,source\n"
HOUR_NS = 3_600_000_000_000
JAN_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
LIFE, DIRECT = Boundary.LIFE_CYCLE, Boundary.DIRECT
# The heads are those of the portal's files, as public programs that read them quote them; the values are made up.
PORTAL = (
    "Datetime (UTC),Country,Zone name,Zone id,Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (Life cycle),"
    "Carbon-free energy percentage (CFE%),Renewable energy percentage (RE%),Data source,Data estimated,Data estimation method\n"
    "2021-01-01 00:00:00,Sweden,Sweden,SE,12.25,41.5,90.5,60.1,example,true,ESTIMATED_FORECASTS_HIERARCHY\n"
    "2021-01-01 01:00:00,Sweden,Sweden,SE,12.5,42.75,90.4,59.5,example,true,ESTIMATED_FORECASTS_HIERARCHY\n"
)
OLD_PORTAL = (
    "Datetime (UTC),Country,Zone Name,Zone Id,Carbon Intensity gCO₂eq/kWh (direct),Carbon Intensity gCO₂eq/kWh (LCA),"
    "Low Carbon Percentage,Renewable Percentage,Data Source,Data Estimated,Data Estimation Method\n"
    "2021-01-01 00:00:00,Sweden,Sweden,SE,12.25,41.5,90.5,60.1,example,false,\n"
)


def told(text: str, zone: str = "DE", boundary: Boundary = LIFE):  # type: ignore[no-untyped-def]
    return parse(text.encode(), "grid.csv", zone, boundary, 7, "hash")


def test_our_columns() -> None:
    found = told(
        HEAD + "2026-01-01T00:00:00Z,DE,342.50,life-cycle,false,,me\n2026-01-01T01:00:00Z,DE,300,lifecycle,true,MODEL_X,me\n"
    )
    assert [(p.start_ns - JAN_NS, p.end_ns - JAN_NS, str(p.g_per_kwh), p.estimated, p.method) for p in found.points] == [
        (0, HOUR_NS, "342.50", False, ""),
        (HOUR_NS, 2 * HOUR_NS, "300", True, "MODEL_X"),
    ]
    assert {(p.known_ns, p.raw_sha256) for p in found.points} == {(7, "hash")}
    assert (found.missing, found.skipped) == (0, 0)


@pytest.mark.parametrize(("boundary", "values"), [(LIFE, ["41.5", "42.75"]), (DIRECT, ["12.25", "12.5"])])
def test_electricity_maps_own_columns(boundary: Boundary, values: list[str]) -> None:
    found = told(PORTAL, "SE", boundary)
    assert [str(p.g_per_kwh) for p in found.points] == values
    assert [(p.estimated, p.method) for p in found.points] == [(True, "ESTIMATED_FORECASTS_HIERARCHY")] * 2
    assert found.points[0].start_ns == 1_609_459_200_000_000_000


def test_the_portal_s_older_heads_and_a_byte_order_mark() -> None:
    found = parse(b"\xef\xbb\xbf" + OLD_PORTAL.replace("\n", "\r\n").encode(), "x", "SE", LIFE, 0)
    assert [(str(p.g_per_kwh), p.estimated) for p in found.points] == [("41.5", False)]


def test_gaps_are_gaps_and_zero_is_one_over_a_life_cycle_alone() -> None:
    rows = "".join(f"2026-01-01T{h:02d}:00:00Z,DE,{v},{{0}},false,,\n" for h, v in enumerate(["1", "", "NA", "0", "2"]))
    found = told(HEAD + rows.format("life-cycle"))
    assert ([str(p.g_per_kwh) for p in found.points], found.missing) == (["1", "2"], 3)
    found = told(HEAD + rows.format("direct"), boundary=DIRECT)
    assert ([str(p.g_per_kwh) for p in found.points], found.missing) == (["1", "0", "2"], 2)


def test_other_zones_and_the_other_kind_are_left_out() -> None:
    both = "2026-01-01T00:00:00Z,{},{},{},false,,\n"
    found = told(
        HEAD + both.format("DE", 1, "direct") + both.format("DE", 2, "life-cycle") + both.format("FR", 3, "life-cycle")
    )
    assert ([p.g_per_kwh for p in found.points], found.skipped) == ([Decimal(2)], 2)
    with pytest.raises(UsageError, match="has no life-cycle row of zone 'PL'; zones in it: DE, FR"):
        told(HEAD + both.format("DE", 2, "life-cycle") + both.format("FR", 3, "life-cycle"), "PL")


def test_a_quarter_of_an_hour_is_one() -> None:
    rows = "".join(f"2026-01-01T00:{m:02d}:00Z,DE,5,life-cycle,,,\n" for m in (0, 15, 45))
    assert [(p.start_ns - JAN_NS, p.end_ns - p.start_ns) for p in told(HEAD + rows).points] == [
        (0, HOUR_NS // 4), (HOUR_NS // 4, HOUR_NS // 4), (3 * HOUR_NS // 4, HOUR_NS // 4),
    ]  # fmt: skip


GOOD = "2026-01-01T00:00:00Z,DE,5,life-cycle,false,,\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: these are not the columns"),
        ("ts_utc,zone,kind\n", "line 1: column g_per_kwh is missing"),
        ("ts_utc,ts_utc,zone,g_per_kwh,kind\n", "line 1: a column is there twice"),
        (
            HEAD + GOOD + "2026-01-01T01:00:00+01:00,DE,5,life-cycle,false,,\n",
            "line 3: '2026-01-01T01:00:00+01:00' is no UTC time",
        ),
        (HEAD + GOOD + "2026-02-30T01:00:00Z,DE,5,life-cycle,false,,\n", "line 3: there is no time '2026-02-30T01:00:00Z'"),
        (HEAD + GOOD + "0001-01-01T01:00:00Z,DE,5,life-cycle,false,,\n", "line 3: '0001-01-01T01:00:00Z' is before 1990"),
        (HEAD + GOOD + "2026-01-01T01:00:00Z,DE,-5,life-cycle,false,,\n", "line 3: '-5' is no intensity"),
        (HEAD + GOOD + "2026-01-01T01:00:00Z,DE,1e3,life-cycle,false,,\n", "line 3: '1e3' is no intensity"),
        (
            HEAD + GOOD + "2026-01-01T01:00:00Z,DE,342000,life-cycle,false,,\n",
            "line 3: 342000 g/kWh is more than any grid makes",
        ),
        (HEAD + GOOD + "2026-01-01T01:00:00Z,DE,5,marginal,false,,\n", "line 3: kind 'marginal' is neither"),
        (HEAD + GOOD + "2026-01-01T01:00:00Z,DE,5,life-cycle,maybe,,\n", "line 3: estimated 'maybe' is neither"),
        (HEAD + GOOD + "2026-01-01T01:00:00Z,DE,5\n", "line 3: 3 cells, and the head has 7"),
        (HEAD + GOOD + GOOD.replace(",5,", ",6,"), "line 3: another value for the time of line 2"),
        (HEAD + GOOD + GOOD.replace("-01T00", "-02T00"), "lie 86400 s apart"),
        (HEAD + GOOD + GOOD.replace("00:00Z", "20:00Z"), "lie 1200 s apart"),
        (HEAD + GOOD + GOOD.replace("T00", "T01") + GOOD.replace("T00:00", "T02:20"), "do not lie on steps of 3600 s"),
        (HEAD + '"' + GOOD, "unexpected end of data"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        told(text)
    assert str(caught.value).startswith("grid.csv")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_told() -> None:
    with pytest.raises(UsageError, match="is not UTF-8"):
        parse(b"\xff\xfe\x00", "grid.csv", "DE", LIFE, 0)


def test_a_method_is_cut_to_what_can_be_printed() -> None:
    found = told(HEAD + GOOD.replace("false,,", "true,\x1b[31mX" + "y" * 500 + ","))
    (point,) = found.points
    assert point.method.startswith("31mX")
    assert len(point.method) <= 80
