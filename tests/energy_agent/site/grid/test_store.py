"""The files of known grid values: never rewritten, intact after any crash; a repeated value is not written again."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.core.errors import JournalError
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary, Gases
from energy_agent.factors.series import About, IntensityPoint, series
from energy_agent.site.grid.store import GridStore

HOUR_NS = 3_600_000_000_000
NOV_NS = 1_793_491_200_000_000_000  # 2026-11-01T00:00:00Z
ABOUT = About("electricity_maps", "DE", Basis(EmissionBoundary.LIFE_CYCLE), "Electricity Maps", "as agreed")
MONTH = "DE/electricity_maps.life-cycle.location.CO2e/2026-11.jsonl"


def hour(number: int, grams: str = "300", known_ns: int = 1, estimated: bool = False) -> IntensityPoint:
    start = NOV_NS + number * HOUR_NS
    return IntensityPoint(start, start + HOUR_NS, Decimal(grams), estimated, known_ns, "M" if estimated else "", "ab" * 32)


def test_a_series_comes_back_as_it_went_in(tmp_path: Path) -> None:
    points = [hour(0), hour(1, "12.50", estimated=True), hour(-1)]
    assert GridStore(tmp_path).append(ABOUT, points) == 3
    content = GridStore(tmp_path).read(ABOUT)
    assert content.series == series(ABOUT, points)
    assert content.torn == ()
    assert GridStore(tmp_path).list_series() == (ABOUT,)
    assert sorted(p.name for p in (tmp_path / MONTH).parent.iterdir()) == ["2026-10.jsonl", "2026-11.jsonl"]


def test_each_line_is_canonical_and_has_the_hash_of_what_it_came_in(tmp_path: Path) -> None:
    GridStore(tmp_path).append(ABOUT, [hour(0)])
    page, line = (tmp_path / MONTH).read_text().splitlines()
    assert json.loads(page)["about"]["licence"] == "as agreed"
    assert line == (
        f'{{"end_ns":{NOV_NS + HOUR_NS},"estimated":false,"g_per_kwh":"300","known_ns":1,"method":"",'
        f'"raw_sha256":"{"ab" * 32}","start_ns":{NOV_NS}}}'
    )


def test_repeated_points_are_not_written_and_changes_add_a_line(tmp_path: Path) -> None:
    store = GridStore(tmp_path)
    assert store.append(ABOUT, [hour(0), hour(1)]) == 2
    before = (tmp_path / MONTH).read_bytes()
    assert store.append(ABOUT, [hour(0, known_ns=2), hour(1, known_ns=2)]) == 0
    assert GridStore(tmp_path).append(ABOUT, [hour(0, "300.0", known_ns=3)]) == 0
    assert (tmp_path / MONTH).read_bytes() == before
    assert store.append(ABOUT, [hour(0, "310", known_ns=4), hour(1, known_ns=4)]) == 1
    assert (tmp_path / MONTH).read_bytes().startswith(before)
    intensities = store.read(ABOUT).series
    assert [p.g_per_kwh for p in intensities.as_of(3).pieces()] == [300, 300]
    assert [p.g_per_kwh for p in intensities.as_of(4).pieces()] == [310, 300]


def test_a_value_that_went_back_is_a_revision_too(tmp_path: Path) -> None:
    store = GridStore(tmp_path)
    for known_ns, grams in enumerate(["300", "310", "300"], 1):
        assert store.append(ABOUT, [hour(0, grams, known_ns)]) == 1
    intensities = store.read(ABOUT).series
    assert [int(intensities.as_of(t).pieces()[0].g_per_kwh) for t in (1, 2, 3)] == [300, 310, 300]


def test_zones_bases_and_sources_are_apart(tmp_path: Path) -> None:
    others = [
        About("electricity_maps", "FR", ABOUT.basis, "p", "l"),
        About("electricity_maps", "DE", Basis(EmissionBoundary.DIRECT), "p", "l"),
        About("csv_file.x", "DE", ABOUT.basis, "p", "l"),
        About("csv_file.x", "DE", Basis(EmissionBoundary.LIFE_CYCLE, Accounting.RESIDUAL, Gases.CO2), "p", "l"),
    ]
    store = GridStore(tmp_path)
    for number, about in enumerate([ABOUT, *others]):
        store.append(about, [hour(0, str(100 + number))])
    assert [int(store.read(a).series.points[0].g_per_kwh) for a in (ABOUT, *others)] == [100, 101, 102, 103, 104]
    assert set(store.list_series()) == {ABOUT, *others}


def test_a_new_word_of_the_publisher_is_a_further_line(tmp_path: Path) -> None:
    store = GridStore(tmp_path)
    store.append(ABOUT, [hour(0)])
    renamed = About(ABOUT.id, ABOUT.zone, ABOUT.basis, "Electricity Maps ApS", "ODbL")
    store.append(renamed, [hour(1)])
    assert store.read(ABOUT).series.about == renamed
    assert len(store.read(ABOUT).series.points) == 2


@given(st.data())
def test_a_crash_at_any_byte_loses_no_line_that_was_whole(tmp_path_factory, data) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("store")
    points = [hour(n) for n in range(3)]
    GridStore(folder).append(ABOUT, points)
    path = folder / MONTH
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    # A line counts when it is whole, with or without its end.
    lines = whole.splitlines(keepends=True)
    kept = sum(1 for n in range(1, len(lines)) if sum(map(len, lines[: n + 1])) - 1 <= cut)
    content = GridStore(folder).read(ABOUT)
    assert content.series.points == tuple(points[:kept])
    assert len(content.torn) <= 1
    # The next append closes what was torn off, and rewrites nothing.
    assert GridStore(folder).append(ABOUT, [hour(9)]) == 1
    assert path.read_bytes().startswith(whole[:cut])
    again = GridStore(folder).read(ABOUT)
    assert again.series.points == (*points[:kept], hour(9))
    assert bool(again.torn) == bool(content.torn)


@pytest.mark.parametrize(
    "damage",
    [b"{}\n", b"\x00\n", b"[1]\n", b'{"torn_bytes":5}\n', b'{"about":5}\n', b'{"about":{"id":5}}\n', b"[" * 3000 + b"\n", b"\n",
     b"x" * 5000 + b"\n"],
)  # fmt: skip
def test_damage_in_the_middle_is_reported_with_file_and_line(tmp_path: Path, damage: bytes) -> None:
    GridStore(tmp_path).append(ABOUT, [hour(0), hour(1)])
    path = tmp_path / MONTH
    head, *rest = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(head + damage + b"".join(rest))
    for refused in (lambda: GridStore(tmp_path).read(ABOUT), lambda: GridStore(tmp_path).append(ABOUT, [hour(5)])):
        with pytest.raises(JournalError, match=r"2026-11\.jsonl, line 2: expected a record"):
            refused()


def test_mark_with_a_different_length_is_damage(tmp_path: Path) -> None:
    GridStore(tmp_path).append(ABOUT, [hour(0)])
    path = tmp_path / MONTH
    path.write_bytes(path.read_bytes() + b'{"end_')
    GridStore(tmp_path).append(ABOUT, [hour(1)])
    whole = path.read_bytes()
    assert b'{"torn_bytes":6}' in whole
    assert len(GridStore(tmp_path).read(ABOUT).series.points) == 2
    path.write_bytes(whole.replace(b'{"torn_bytes":6}', b'{"torn_bytes":7}'))
    with pytest.raises(JournalError, match="line 3"):
        GridStore(tmp_path).read(ABOUT)


@pytest.mark.parametrize(
    "change",
    [{"g_per_kwh": "NaN"}, {"g_per_kwh": 5}, {"g_per_kwh": "five"}, {"start_ns": "5"}, {"start_ns": True}, {"estimated": 1},
     {"end_ns": 0}, {"extra": 1}, {"method": None}],
)  # fmt: skip
def test_a_record_with_a_wrong_field_is_damage(tmp_path: Path, change: dict[str, object]) -> None:
    GridStore(tmp_path).append(ABOUT, [hour(0)])
    path = tmp_path / MONTH
    page, line = path.read_text().splitlines()
    path.write_text(f"{page}\n{json.dumps(json.loads(line) | change)}\n{line}\n")
    with pytest.raises(JournalError, match="line 2"):
        GridStore(tmp_path).read(ABOUT)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "", "x" * 64])
def test_a_zone_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(JournalError, match="cannot be used as a folder name"):
        GridStore(tmp_path).append(About("electricity_maps", name, ABOUT.basis, "p", "l"), [hour(0)])
    assert not list(tmp_path.iterdir())


def test_a_link_where_a_file_should_be_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "store" / MONTH
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="cannot be written"):
        GridStore(tmp_path / "store").append(ABOUT, [hour(0)])
    assert not (tmp_path / "elsewhere").exists()


def test_unwritable_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"cannot be written: .*; existing records are not affected"):
        GridStore(tmp_path / "file").append(ABOUT, [hour(0)])


def test_full_disk_is_reported_and_existing_records_are_whole(tmp_path: Path) -> None:
    """A limit on the size of files, as a full disk is hard to come by; it ends in the middle of a line."""
    store = GridStore(tmp_path)
    store.append(ABOUT, [hour(0)])
    size = (tmp_path / MONTH).stat().st_size
    code = (
        "import resource, signal, sys; from pathlib import Path; from tests.energy_agent.site.grid.test_store import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({size + 70}, {size + 70}))\n"
        "try:\n    GridStore(Path(sys.argv[1])).append(ABOUT, [hour(1), hour(2)])\n"
        "except JournalError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[4],
        env=dict(os.environ),
    )  # fmt: skip
    assert "File too large; existing records are not affected" in done.stdout
    assert (tmp_path / MONTH).stat().st_size == size + 70
    content = store.read(ABOUT)
    assert content.series.points == (hour(0),)
    assert "the last line is incomplete (70 bytes)" in content.torn[0]
    assert store.append(ABOUT, [hour(1), hour(2)]) == 2
    assert store.read(ABOUT).series.points == (hour(0), hour(1), hour(2))


def test_what_another_process_appends_is_seen(tmp_path: Path) -> None:
    reader, writer = GridStore(tmp_path), GridStore(tmp_path)
    writer.append(ABOUT, [hour(0)])
    assert len(reader.read(ABOUT).series.points) == 1
    writer.append(ABOUT, [hour(1)])
    assert len(reader.read(ABOUT).series.points) == 2
    assert reader.append(ABOUT, [hour(1), hour(2)]) == 1
