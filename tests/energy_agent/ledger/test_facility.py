"""The book of a site's meters: who was there when, and that nothing is counted twice when meters come, go and are renamed."""

from energy_agent.core.energy import Entry, Gap, Method, State, WorkloadFacts
from energy_agent.core.meters.facility import METER_GONE, METER_KIND, MeterFacts, Position, Role
from energy_agent.ledger.facility import book_of
from energy_agent.ledger.rows import cells
from energy_agent.ledger.rows.kinds import CELL_NS, fold
from energy_agent.site.building.pue import DAY_NS, pue

S, KWH = 10**9, 3_600_000_000_000
HOUR = 4 * CELL_NS
T0 = 1_784_851_200 * S  # a UTC day's start
UPS = Position.UPS_OUTPUT


def meter(name, since_ns, role=Role.TOTAL, position=None, *parent):
    facts = MeterFacts(name, role, position, *parent, accuracy_ppm=0, max_mw=10**9)
    return WorkloadFacts(facts.device("dc1"), since_ns, METER_KIND, facts.labels)


def removed_meter(name, since_ns):
    return WorkloadFacts(f"meter:dc1:{name}", since_ns, METER_GONE)


def rows(name, kw, start_ns, hours):
    """A constant load, an entry an hour."""
    device = f"meter:dc1:{name}"
    entries = [
        Entry(start_ns + n * HOUR, start_ns + (n + 1) * HOUR, device, "", State.UNALLOCATED, Method.COUNTER, kw * KWH, 0, HOUR)
        for n in range(hours)
    ]
    return list(fold({}, cells.entry_rows(entries)).values())


def test_a_meter_that_is_removed_counts_until_then():
    """150 kW, two PDUs of 50: the second is taken out of the file after ten of twelve hours."""
    book = book_of("dc1", [
        meter("main", T0), meter("a", T0, Role.IT, UPS), meter("b", T0, Role.IT, UPS), removed_meter("b", T0 + 10 * HOUR),
        *rows("main", 150, T0, 12), *rows("a", 50, T0, 12), *rows("b", 50, T0, 10),
    ])  # fmt: skip
    window = book.window(T0, T0 + 12 * HOUR)
    assert window["b"].measured_uj == 500 * KWH
    assert window["b"].imputed_uj == 0
    assert book.window(T0, T0 + 10 * HOUR)["b"].measured_uj == 500 * KWH
    assert "b" not in book.window(T0 + 10 * HOUR, T0 + 12 * HOUR)
    assert pue(book.window(T0, T0 + 10 * HOUR), UPS).amount.value * 2 == 3


def test_added_meter_does_not_change_earlier_results():
    before = [meter("main", T0), meter("a", T0, Role.IT, UPS), *rows("main", 150, T0, 24), *rows("a", 100, T0, 24)]
    after = [*before, meter("new", T0 + 20 * HOUR, Role.IT, UPS), *rows("new", 10, T0 + 20 * HOUR, 4)]
    window = (T0, T0 + 20 * HOUR)
    assert book_of("dc1", before).window(*window) == book_of("dc1", after).window(*window)


def test_a_meter_that_is_renamed_and_brings_its_history_again_is_not_counted_twice():
    """An imported file under another id: all of its rows are there a second time."""
    book = book_of("dc1", [
        meter("main", T0), removed_meter("main", T0 + 12 * HOUR), meter("main-2", T0 + 12 * HOUR), meter("a", T0, Role.IT, UPS),
        *rows("main", 150, T0, 12), *rows("main-2", 150, T0, 24), *rows("a", 100, T0, 24),
    ])  # fmt: skip
    for start, end in ((0, 12), (0, 24), (12, 24)):
        result = pue(book.window(T0 + start * HOUR, T0 + end * HOUR), UPS)
        assert result.amount.value * 2 == 3, (start, end)
        assert result.total_uj == (end - start) * 150 * KWH


def test_days_in_which_a_meter_changed_are_not_folded_and_cells_know_lives_too():
    """Renamed at noon of the second day, with its history: the same by cells and by days, and by cells that of one."""
    rename = T0 + 36 * HOUR
    all_rows = [
        meter("main", T0), removed_meter("main", rename), meter("main-2", rename), meter("a", T0, Role.IT, UPS),
        *rows("main", 150, T0, 36), *rows("main-2", 150, T0, 96), *rows("a", 100, T0, 96),
    ]  # fmt: skip
    plain, folded = book_of("dc1", all_rows), book_of("dc1", all_rows)
    folded.fold_before(T0 + 3 * DAY_NS)
    window = (T0, T0 + 4 * DAY_NS)
    assert plain.window(*window) == folded.window(*window)
    assert pue(folded.window(*window), UPS).amount.value * 2 == 3
    assert sum(uj for m in ("main", "main-2") for uj, _ in plain.cells_of(m, *window).values()) == 96 * 150 * KWH


def test_what_hangs_below_a_renamed_meter_hung_below_the_old_one_before():
    noon = T0 + 12 * HOUR
    book = book_of("dc1", [
        meter("main", T0), meter("ups", T0, Role.IT, UPS, "main"), removed_meter("main", noon), meter("main-2", noon),
        meter("ups", noon, Role.IT, UPS, "main-2"),
        *rows("main", 150, T0, 12), *rows("main-2", 150, noon, 12), *rows("ups", 100, T0, 24),
    ])  # fmt: skip
    for start, end, parent in ((T0, noon, "main"), (noon, T0 + 24 * HOUR, "main-2")):
        assert book.window(start, end)["ups"].facts.parent == parent


def test_a_history_from_before_a_meter_was_declared_counts():
    book = book_of("dc1", [meter("main", T0 + 48 * HOUR), *rows("main", 150, T0, 48)])
    assert book.window(T0, T0 + 48 * HOUR)["main"].measured_uj == 48 * 150 * KWH


def test_an_hour_that_was_metered_twice_hides_no_hour_that_was_not():
    """A clock set back: one hour has two hours' energy. Another was not read, as the ledger says: 23 of 24 are measured."""
    lost = fold({}, cells.gap_rows([Gap("meter:dc1:main", T0 + 20 * HOUR, T0 + 21 * HOUR, 5, "no readings")]))
    again, later = rows("main", 100, T0 + 3 * HOUR, 1), rows("main", 100, T0 + 21 * HOUR, 3)
    book = book_of("dc1", [meter("main", T0), *rows("main", 100, T0, 20), *again, *later, *lost.values()])
    window = book.window(T0, T0 + 24 * HOUR)["main"]
    assert window.measured_ns == 23 * HOUR
    assert window.measured_uj == 2400 * KWH
    assert window.imputed_uj > 0
    book.fold_before(T0 + DAY_NS)
    assert book.window(T0, T0 + DAY_NS)["main"].measured_ns == 23 * HOUR


def test_a_clock_that_was_an_hour_ahead_for_a_while_leaves_no_hour_unseen():
    """Ahead from 10 to 12: the hour from 10 has nothing, that from 12 has two hours' energy. The day was metered whole."""
    ahead, after = rows("main", 100, T0 + 11 * HOUR, 2), rows("main", 100, T0 + 12 * HOUR, 12)
    book = book_of("dc1", [meter("main", T0), *rows("main", 100, T0, 10), *ahead, *after])
    window = book.window(T0, T0 + 24 * HOUR)["main"]
    assert (window.measured_ns, window.measured_uj, window.imputed_uj) == (24 * HOUR, 2400 * KWH, 0)


def test_a_gap_reaches_as_far_as_energy_does():
    lost = fold({}, cells.gap_rows([Gap("meter:dc1:main", T0 + 10 * HOUR, T0 + 12 * HOUR, 5, "no readings")]))
    book = book_of("dc1", [meter("main", T0), *rows("main", 100, T0, 10), *lost.values()])
    assert (book.first_ns, book.until_ns) == (T0, T0 + 12 * HOUR)
    window = book.window(T0, T0 + 12 * HOUR)["main"]
    assert sum(gap.end_ns - gap.start_ns for gap in window.gaps) == 2 * HOUR
    assert window.missing_ns == 2 * HOUR
