"""A CSV of intensities: our columns, Electricity Maps' own, and what hostile or careless files make of it."""

from decimal import Decimal

from energy_agent.factors.basis import EmissionBoundary
from energy_agent.factors.series_csv import parse
from tests.support import refusal

HEAD = "ts_utc,zone,g_per_kwh,kind,estimated,method,source\n"
HOUR_NS = 3_600_000_000_000
JAN_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
LIFE, DIRECT = EmissionBoundary.LIFE_CYCLE, EmissionBoundary.DIRECT
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


def parse_text(text: str, zone: str = "DE", boundary: EmissionBoundary = LIFE):  # type: ignore[no-untyped-def]
    return parse(text.encode(), "grid.csv", zone, boundary, 7, "hash")


def test_our_columns() -> None:
    intensities = parse_text(
        HEAD + "2026-01-01T00:00:00Z,DE,342.50,life-cycle,false,,me\n2026-01-01T01:00:00Z,DE,300,lifecycle,true,MODEL_X,me\n"
    )
    assert [(p.start_ns - JAN_NS, p.end_ns - JAN_NS, str(p.g_per_kwh), p.estimated, p.method) for p in intensities.points] == [
        (0, HOUR_NS, "342.50", False, ""),
        (HOUR_NS, 2 * HOUR_NS, "300", True, "MODEL_X"),
    ]
    assert {(p.known_ns, p.raw_sha256) for p in intensities.points} == {(7, "hash")}
    assert (intensities.missing, intensities.skipped) == (0, 0)


def test_electricity_maps_own_columns_newer_and_older() -> None:
    for boundary, values in ((LIFE, ["41.5", "42.75"]), (DIRECT, ["12.25", "12.5"])):
        intensities = parse_text(PORTAL, "SE", boundary)
        assert [str(p.g_per_kwh) for p in intensities.points] == values
        assert [(p.estimated, p.method) for p in intensities.points] == [(True, "ESTIMATED_FORECASTS_HIERARCHY")] * 2
        assert intensities.points[0].start_ns == 1_609_459_200_000_000_000
    intensities = parse(b"\xef\xbb\xbf" + OLD_PORTAL.replace("\n", "\r\n").encode(), "x", "SE", LIFE, 0)
    assert [(str(p.g_per_kwh), p.estimated) for p in intensities.points] == [("41.5", False)]


def test_gaps_are_gaps_and_zero_is_one_over_a_life_cycle_alone() -> None:
    rows = "".join(f"2026-01-01T{h:02d}:00:00Z,DE,{v},{{0}},false,,\n" for h, v in enumerate(["1", "", "NA", "0", "2"]))
    intensities = parse_text(HEAD + rows.format("life-cycle"))
    assert ([str(p.g_per_kwh) for p in intensities.points], intensities.missing) == (["1", "2"], 3)
    intensities = parse_text(HEAD + rows.format("direct"), boundary=DIRECT)
    assert ([str(p.g_per_kwh) for p in intensities.points], intensities.missing) == (["1", "0", "2"], 2)


def test_other_zones_and_the_other_kind_are_left_out() -> None:
    de, fr = ("2026-01-01T00:00:00Z,DE,{},{},false,,\n", "2026-01-01T00:00:00Z,FR,3,life-cycle,false,,\n")
    intensities = parse_text(HEAD + de.format(1, "direct") + de.format(2, "life-cycle") + fr)
    assert ([p.g_per_kwh for p in intensities.points], intensities.skipped) == ([Decimal(2)], 2)
    line = refusal(parse_text, HEAD + de.format(2, "life-cycle") + fr, "PL")
    assert "'PL'" in line
    assert "DE, FR" in line


def test_a_quarter_of_an_hour_is_one() -> None:
    rows = "".join(f"2026-01-01T00:{m:02d}:00Z,DE,5,life-cycle,,,\n" for m in (0, 15, 45))
    assert [(p.start_ns - JAN_NS, p.end_ns - p.start_ns) for p in parse_text(HEAD + rows).points] == [
        (0, HOUR_NS // 4), (HOUR_NS // 4, HOUR_NS // 4), (3 * HOUR_NS // 4, HOUR_NS // 4),
    ]  # fmt: skip


GOOD = "2026-01-01T00:00:00Z,DE,5,life-cycle,false,,\n"


def test_mistake_is_reported_with_file_and_line() -> None:
    row, next_row = HEAD + GOOD, HEAD + GOOD + "2026-01-01T01:00:00Z,DE,{}"
    for text, words in (
        ("", "line 1: "), ("ts_utc,zone,kind\n", "1: column g_per_kwh "), (HEAD.replace(",", ",zone,", 1), "duplicate column"),
        (row + "2026-01-01T01:00:00+01:00,DE,5,life-cycle,false,,\n", "line 3: expected a UTC time"),
        (row + "2026-02-30T01:00:00Z,DE,5,life-cycle,false,,\n", "line 3: the time '2026-02-30T01:00:00Z' does not exist"),
        (row + "0001-01-01T01:00:00Z,DE,5,life-cycle,false,,\n", "line 3: expected a time from 1990 on"),
        (next_row.format("-5,life-cycle,false,,\n"), "got '-5'"), (next_row.format("1e3,life-cycle,,,\n"), "got '1e3'"),
        (next_row.format("342000,life-cycle,false,,\n"), "line 3: 342000 g/kWh"),
        (next_row.format("5,marginal,false,,\n"), "line 3: kind: expected direct or life-cycle, got 'marginal'"),
        (next_row.format("5,life-cycle,maybe,,\n"), "true or false, got 'maybe'"), (next_row.format("5\n"), "line 3: 3 cells"),
        (row + GOOD.replace(",5,", ",6,"), "line 3: its value differs from line 2"),
        (row + GOOD.replace("-01T00", "-02T00"), "got 86400 s"), (row + GOOD.replace("00:00Z", "20:00Z"), "got 1200 s"),
        (row + GOOD.replace("T00", "T01") + GOOD.replace("T00:00", "T02:20"), "multiples of 3600 s"),
        (HEAD + '"' + GOOD, "unexpected end of data"),
    ):  # fmt: skip
        line = refusal(parse_text, text)
        assert line.startswith("grid.csv")
        assert words in line
    assert "is not UTF-8" in refusal(parse, b"\xff\xfe\x00", "grid.csv", "DE", LIFE, 0)


def test_a_method_is_cut_to_what_can_be_printed() -> None:
    intensities = parse_text(HEAD + GOOD.replace("false,,", "true,\x1b[31mX" + "y" * 500 + ","))
    (point,) = intensities.points
    assert point.method.startswith("31mX")
    assert len(point.method) <= 80
