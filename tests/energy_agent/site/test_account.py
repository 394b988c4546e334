"""The site's account: whatever the meters do, the ledger's cells sum to the recorded energy, also across restarts."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.boundary import JOURNAL_LOST, is_gpu, is_meter, meter, site_and_meter
from energy_agent.core.energy import Identity, Method
from energy_agent.core.errors import WattlensError
from energy_agent.core.meters.facility import MeterFacts, Position, Role
from energy_agent.core.meters.reading import MeterReading, Scope
from energy_agent.core.saved_state import Component
from energy_agent.ledger.facility import FacilityBook, book_of
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.journal import Journal
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import CELL_NS, GapRow
from energy_agent.ledger.segments import segment
from energy_agent.ledger.summary import bounds
from energy_agent.site.account import SiteAccount
from energy_agent.site.building.pue import DAY_NS, pue
from energy_agent.site.windows import WINDOWS, PueValue, live
from reports.period import PeriodRequest
from tests.energy_agent.ledger.cases import compact_day
from tests.support import examples
from wattlens.report.build import Options, build

S = 10**9
KWH = 3_600_000_000_000
START = 1_780_000_200 * S // CELL_NS * CELL_NS
MAIN = MeterFacts("main", Role.TOTAL, None, "", "", 5_000, "modbus", 400_000_000, "modbus")
UPS = MeterFacts("ups", Role.IT, Position.UPS_OUTPUT, "main", "", 10_000, "snmp", 400_000_000, "snmp")
METERS = [(MAIN, 150 * S), (UPS, 150 * S)]


def reading(name, t_s, uj, boot_s=None):
    t_ns = START + t_s * S
    return MeterReading(
        name, Scope.FACILITY, t_ns, (t_s if boot_s is None else boot_s) * S, uj, None, None, 400_000_000, KWH // 1000, 1000
    )


def opened(path, boot="boot"):
    return Journal.open(path / "journal.db", Identity("c", "dc1", boot, "1", True), utc_ns=lambda: START)


def commit(journal, account, now_s):
    journal.commit(account.batch(START + now_s * S))
    account.committed()


@settings(max_examples=examples(40))  # each opens a journal on the disk for each life
@given(st.lists(st.lists(st.integers(0, 5 * KWH), min_size=1, max_size=20), min_size=1, max_size=4))
def test_restarts_lose_no_joule_and_count_none_twice(tmp_path_factory, lives):
    """Each life reads the register for a while, commits some of it and is killed; the register counts on meanwhile."""
    folder = tmp_path_factory.mktemp("site")
    register_uj, t_s, last_recorded = 10**12, 0, None
    first = register_uj
    for n, steps in enumerate(lives):
        journal = opened(folder, f"boot-{n}")
        account = SiteAccount("dc1", f"boot-{n}", METERS)
        assert account.restore(journal.states(), journal.facts()) == []
        for step in steps:
            t_s += 60
            register_uj += step
            account.feed("main", [reading("main", t_s, register_uj, boot_s=t_s - 50_000 * n)])
            commit(journal, account, t_s)
            last_recorded = register_uj if journal.totals().energy else first
        account.feed("main", [reading("main", t_s + 30, register_uj + KWH, boot_s=t_s + 30 - 50_000 * n)])  # never committed
        journal.close()
    journal = opened(folder)
    total = sum(journal.totals().energy.values())
    rows = journal.open_rows()
    sealed = (
        [row for path in segment.list_files(journal.segments_folder) for row in segment.read(path).rows]
        if journal.segments_folder.is_dir()
        else []
    )
    journal.close()
    assert last_recorded is None or total <= register_uj - first
    book = book_of("dc1", [*rows, *sealed])
    cells = sum(uj for slot in book._meters["main"].cells.values() for uj in slot.energy_uj.values()) if total else 0
    assert cells == total


@pytest.mark.parametrize("source", ["modbus", "imported"])
def test_a_lost_journal_leaves_a_gap_and_no_row_of_a_file_is_counted_again(tmp_path, source):
    """Two hours of 130 kW, of which the first is sealed; then the journal is lost, and the second hour is read again."""
    meters = [(replace(MAIN, source=source), 150 * S)]
    journal, account = opened(tmp_path), SiteAccount("dc1", "boot", meters)
    table = [reading("main", 60 * minute, 130 * KWH * minute // 60) for minute in range(121)]
    account.feed("main", table)
    commit(journal, account, 7200)
    journal.seal(START + 3600 * S)
    journal.close()
    for path in tmp_path.glob("journal.*"):
        path.unlink()
    journal, account = opened(tmp_path), SiteAccount("dc1", "boot", meters)
    assert account.restore(journal.states(), journal.facts()) == []
    later = [reading("main", 7200 + 60 * minute, 130 * KWH * (120 + minute) // 60) for minute in range(11)]
    for part in (later[:1], later[1:]) if source == "modbus" else ([*table[:50], table[50]], [*table[51:], *later[1:]]):
        account.feed("main", part)
        commit(journal, account, 7800)
        journal.close()  # a restart closes no gap twice
        journal, account = opened(tmp_path), SiteAccount("dc1", "boot", meters)
        assert account.restore(journal.states(), journal.facts()) == []
    rows = list(read_rows(tmp_path))
    gaps = [(r.row.start_ns, r.row.end_ns, r.row.reason) for r in rows if isinstance(r.row, GapRow)]
    if source == "imported":  # the file has the row at the very end of the segment: nothing is missing
        assert gaps == []
        assert sum(journal.totals().energy.values()) == 130 * KWH * 130 // 60
    else:
        assert {reason for _, _, reason in gaps} == {JOURNAL_LOST}
        assert (min(gaps)[0], max(gap[1] for gap in gaps)) == (START + 3600 * S, START + 7200 * S)
        assert sum(r.row.bound_uj for r in rows if isinstance(r.row, GapRow)) == 400_000_000 * 3600 * 1000
        assert sum(journal.totals().energy.values()) == 130 * KWH * 70 // 60
    assert Component.LOST_READINGS not in journal.states()
    journal.close()


def hours(book_minutes=60 * 50, wrong_at=None):
    """A journal of two meters at 130 and 100 kW for some hours, one reading a minute."""
    account = SiteAccount("dc1", "boot", METERS)
    for minute in range(book_minutes):
        account.feed("main", [reading("main", 60 * minute, 130 * KWH * minute // 60)])
        account.feed("ups", [reading("ups", 60 * minute, 100 * KWH * minute // 60)])
    return account


def test_a_day_of_two_meters_gives_the_pue_that_they_were_fed(tmp_path):
    journal, account = opened(tmp_path), hours()
    commit(journal, account, 0)
    journal.seal(START + 48 * 3600 * S)
    book = FacilityBook("dc1")
    for path in segment.list_files(journal.segments_folder):
        for row in segment.read(path).rows:
            book.add(row)
    open_rows = book_of("dc1", [*journal.facts(), *journal.open_rows()])
    assert book.meters == ("main", "ups")
    day = book.window(START, START + DAY_NS)
    assert day["main"].measured_ns == DAY_NS
    assert day["main"].measured_uj == 24 * 130 * KWH
    assert pue(day, Position.UPS_OUTPUT).amount.value == Fraction(13, 10)
    both = book.window(START + 47 * 3600 * S, START + 49 * 3600 * S, additional=open_rows)
    assert both["ups"].measured_uj == 200 * KWH
    main, ups = (book.cells_of(m, START, START + CELL_NS) for m in ("main", "ups"))
    assert main[START][0] - ups[START][0] == 30 * KWH // 4
    now_ns = START + 49 * 3600 * S + 600 * S
    results = live(book, open_rows, [MAIN, UPS], now_ns, 90 * S, None)
    assert results["1", "24h"].amount.value == Fraction(13, 10)
    assert results["1", "15m"].amount.value is not None
    assert "less than 90% of the window" in results["1", "30d"].amount.reason
    journal.close()


def test_folded_days_give_the_same_sums_and_are_not_cut(tmp_path):
    journal, account = opened(tmp_path), hours(60 * 24 * 3)
    commit(journal, account, 0)
    rows = [*journal.facts(), *journal.open_rows()]
    journal.close()
    plain, folded = book_of("dc1", rows), book_of("dc1", rows)
    first = START - START % DAY_NS
    folded.fold_before(first + 2 * DAY_NS)
    for days in (1, 2, 3):
        assert plain.window(first, first + days * DAY_NS) == folded.window(first, first + days * DAY_NS)
    with pytest.raises(ValueError, match="whole UTC days"):
        folded.window(first + DAY_NS + CELL_NS, first + 2 * DAY_NS)
    with pytest.raises(ValueError, match="whole 15-minute cells"):
        plain.window(first + 1, first + DAY_NS)
    folded.forget_before(first + 2 * DAY_NS)
    assert folded.window(first + DAY_NS, first + 2 * DAY_NS)["main"].measured_ns == 0


def test_without_meters_a_stated_pue_is_an_estimate_and_nothing_stated_is_a_reason():
    empty = FacilityBook("dc1")
    (key,) = live(empty, empty, [], START, S, PueValue(Fraction(14, 10), Fraction(1, 10)))
    assert key == ("stated", "")
    absent = live(empty, empty, [replace(UPS, parent="")], START, S, None)["stated", ""]
    assert absent.amount.value is None
    assert "no meter of role total" in absent.amount.reason
    waiting = live(empty, empty, [MAIN, UPS], START, S, None)
    assert {p.amount.reason for key, p in waiting.items() if key[1] == "15m"} == {"nothing is recorded yet"}
    unread = live(None, empty, [MAIN, UPS], START, S, None)
    assert {(p.amount.value, p.amount.reason) for p in unread.values()} == {(None, "the ledger is being read")}
    assert {window for _, window in unread} == set(WINDOWS)


def test_a_state_that_is_not_ours_starts_the_meter_anew():
    account = SiteAccount("dc1", "boot", METERS)
    assert account.restore({Component.METERS: {MAIN.device("dc1"): json.dumps({"last": {}})}}, ()) == ["main"]
    account.feed("main", [reading("main", 0, 0), reading("main", 60, KWH)])
    assert sum(e.energy_uj for e in account.batch(START).entries) == KWH


def test_a_commit_has_the_states_of_the_meters_that_were_read(tmp_path):
    journal, account = opened(tmp_path), SiteAccount("dc1", "boot", METERS)
    account.feed("main", [reading("main", 0, 0)])
    account.feed("ups", [reading("ups", 0, 0)])
    commit(journal, account, 0)
    account.feed("ups", [reading("ups", 60, KWH)])
    assert account.batch(START).states[Component.METERS].keys() == {UPS.device("dc1")}
    commit(journal, account, 60)
    again = SiteAccount("dc1", "boot", METERS)
    assert again.restore(journal.states(), journal.facts()) == []
    assert not again.batch(START).states[Component.METERS]
    again.feed("main", [reading("main", 60, KWH)])
    again.feed("ups", [reading("ups", 120, 2 * KWH)])
    assert sum(e.energy_uj for e in again.batch(START).entries) == 2 * KWH
    journal.close()


def test_metadata_is_recorded_once_and_again_after_a_change(tmp_path):
    journal, account = opened(tmp_path), hours(2)
    commit(journal, account, 0)
    again = SiteAccount("dc1", "boot", METERS)
    again.restore(journal.states(), journal.facts())
    assert not again.batch(START + S).facts
    changed = SiteAccount("dc1", "boot", [(MeterFacts("main", Role.TOTAL, accuracy_ppm=1), S)])
    changed.restore(journal.states(), journal.facts())
    labels = {f.workload: f.labels.get("accuracy_ppm", f.kind) for f in changed.batch(START + S).facts}
    assert labels == {MAIN.device("dc1"): "1", UPS.device("dc1"): "meter gone"}
    journal.close()


def test_a_meter_that_is_taken_out_of_the_file_is_out_of_the_books_from_then_on(tmp_path):
    journal, account = opened(tmp_path), hours(120)
    commit(journal, account, 0)
    fewer = SiteAccount("dc1", "boot", METERS[1:])
    fewer.restore(journal.states(), journal.facts())
    commit(journal, fewer, 7200)
    fewer.feed("ups", [reading("ups", 7260, 202 * KWH)])
    commit(journal, fewer, 7260)
    assert not fewer.batch(START).facts
    again = SiteAccount("dc1", "boot", METERS[1:])
    again.restore(journal.states(), journal.facts())
    assert not again.batch(START + 9 * S).facts
    journal.seal(START + 86_400 * S)
    (path,) = segment.list_files(journal.segments_folder)
    book = book_of("dc1", segment.read(path).rows)  # the segment alone says it too
    journal.close()
    assert set(book.window(START, START + 4 * CELL_NS)) == {"main", "ups"}
    assert set(book.window(START + 8 * CELL_NS, START + 12 * CELL_NS)) == {"ups"}
    both = book.window(START, START + 12 * CELL_NS)  # it counts for as long as it was there, and nothing is put in after that
    assert (both["main"].window_ns, both["main"].asked_ns) == (8 * CELL_NS, 12 * CELL_NS)
    assert both["main"].measured_uj == 130 * KWH * 119 // 60
    assert book.meters == ("ups",)


def test_a_meter_is_no_gpu_and_its_name_gives_site_and_id():
    device = meter("dc1", "main")
    assert is_meter(device)
    assert not is_gpu(device)
    assert site_and_meter(device) == ("dc1", "main")


def test_what_an_integration_doubts_stands_beside_a_register_without_energy():
    account = SiteAccount("dc1", "boot", METERS)
    account.feed("main", [reading("main", 60 * n, min(n, 30) * KWH) for n in range(60)])  # it hangs for half an hour
    account.feed("main", [reading("main", 3600, 60 * KWH)])  # and catches up
    entries = account.batch(START).entries
    assert sum(e.energy_uj for e in entries) == 60 * KWH
    assert {e.method for e in entries} <= {Method.COUNTER, Method.INTEGRATED}


def test_a_building_is_in_no_sum_of_what_it_contains_and_stands_at_its_own_site(tmp_path):
    """The fleet's sums, a report and compacted days: meters are apart, each at the site in its name."""
    journal, account = opened(tmp_path), hours(60)
    account.feed("main", [reading("main", 3700, 131 * KWH)])
    commit(journal, account, 0)
    journal.seal(None)
    (path,) = segment.list_files(journal.segments_folder)
    rows = segment.read(path).rows
    journal.close()
    assert bounds(rows).energy_uj == 0
    assert bounds(rows, device=MAIN.device("dc1")).energy_uj == 131 * KWH
    day = datetime.fromtimestamp(START // S, UTC).date()
    (statement,), _ = compact_day([tmp_path / "segments"], tmp_path / "days", day, Sites({}))
    assert statement.site == "dc1"
    with pytest.raises(WattlensError, match="no GPU or node"):  # a meter of a building is in no sum of theirs
        build(Options(str(tmp_path / "days"), PeriodRequest()))
    book = book_of("dc1", [located.row for located in read_rows(tmp_path / "days")])
    assert book.window(START, START + 8 * CELL_NS)["main"].measured_uj == 131 * KWH
