"""Coverage against an inventory, worked out by hand: device time that was metered over device time that there was."""

from dataclasses import replace
from fractions import Fraction

import pytest

from energy_agent.ledger.rows.kinds import INT64_MAX
from reports.inputs.organisation import ExpectedDevice, Organisation
from reports.ledger.sums import LedgerSums, MeteredDevice, SiteWindow
from reports.site.coverage import coverage, together

DAY = 86_400 * 10**9
WINDOW = SiteWindow(10 * DAY, 20 * DAY)


def sums(*devices: MeteredDevice) -> LedgerSums:
    return LedgerSums({"fra": WINDOW}, simulated=False, parts={}, metered_devices=devices)


def row(uuid: str, start: int = 0, end: int = INT64_MAX, node: str = "n1") -> ExpectedDevice:
    return ExpectedDevice("c", node, uuid, "H100", "fra", start, end)


def metered(device: str, days: int, node: str = "n1", since: int = 10, until: int = 20) -> MeteredDevice:
    return MeteredDevice("fra", "c", node, device, days * DAY, 0, since * DAY, until * DAY)


def test_a_device_that_was_never_seen_is_missed() -> None:
    site_coverage = coverage(sums(metered("GPU-a", 10)), Organisation(expected=(row("GPU-a"), row("GPU-b"))))["fra"]
    assert (site_coverage.share, site_coverage.listed) == (Fraction(10, 20), True)
    assert [(m.device, m.missing_ns) for m in site_coverage.missed] == [("GPU-b", 10 * DAY)]


def test_a_device_counts_for_as_long_as_it_stood_there() -> None:
    """It came on day 15: 5 days of 5; the other was seen 8 days of 10."""
    organisation = Organisation(expected=(row("GPU-a", start=15 * DAY), row("GPU-b")))
    assert coverage(sums(metered("GPU-a", 5, since=15), metered("GPU-b", 8)), organisation)["fra"].share == Fraction(13, 15)


@pytest.mark.parametrize(
    ("days", "since", "until", "least"),
    [
        (5, 10, 15, 0),  # metered, but before it came
        (10, 10, 20, 5),  # metered all the time: five of them are its own
        (8, 10, 20, 3),  # two days are missing, and may be two of its own
        (4, 14, 20, 3),  # a day before it came may be one of the four
        (5, 15, 20, 5),
        (4, 0, 30, 0),  # nothing is known of when: all of it may have been before
    ],
)
def test_what_was_metered_outside_of_its_stay_covers_none_of_it(days: int, since: int, until: int, least: int) -> None:
    """It stood there from day 15 to day 20. Of what was metered, so much was within that time at the least."""
    organisation = Organisation(expected=(row("GPU-a", start=15 * DAY),))
    site_coverage = coverage(sums(metered("GPU-a", days, since=since, until=until)), organisation)["fra"]
    assert (site_coverage.observed_ns, site_coverage.expected_ns) == (least * DAY, 5 * DAY)


def test_duplicate_stay_counts_once() -> None:
    organisation = Organisation(expected=(row("GPU-a", end=16 * DAY), row("GPU-a", start=15 * DAY)))
    site_coverage = coverage(sums(metered("GPU-a", 10)), organisation)["fra"]
    assert (site_coverage.observed_ns, site_coverage.expected_ns) == (10 * DAY, 10 * DAY)


def test_a_line_of_a_whole_node_stands_for_what_no_line_names() -> None:
    """GPU-a by its own line, GPU-b by the node's; neither twice."""
    organisation = Organisation(expected=(row("GPU-a"), row("")))
    assert coverage(sums(metered("GPU-a", 10), metered("GPU-b", 6)), organisation)["fra"].share == Fraction(16, 20)
    assert coverage(sums(metered("GPU-a", 10)), organisation)["fra"].share == 1


def test_a_whole_node_that_was_never_seen_is_missed_once() -> None:
    site_coverage = coverage(sums(metered("GPU-a", 10)), Organisation(expected=(row(""), row("", node="n2"))))["fra"]
    assert site_coverage.share == Fraction(10, 20)
    assert [m.device for m in site_coverage.missed] == ["every device of n2"]


def test_a_dead_node_has_the_boards_of_the_usual_node() -> None:
    """Nine nodes of eight boards were seen all the time, one never: 72 of 80 boards."""
    boards = [metered(f"GPU-{n}-{b}", 10, f"n{n}") for n in range(9) for b in range(8)]
    organisation = Organisation(expected=tuple(row("", node=f"n{n}") for n in range(10)))
    site_coverage = coverage(sums(*boards), organisation)["fra"]
    assert (site_coverage.share, site_coverage.unseen_nodes, site_coverage.usual_boards) == (Fraction(72, 80), 1, 8)
    assert [(m.device, m.missing_ns) for m in site_coverage.missed] == [("every device of n9", 80 * DAY)]


def test_of_a_node_of_which_fewer_boards_were_seen_nothing_is_guessed() -> None:
    """n1 has two boards, n2 showed one; a node that is in no inventory is not the usual one, be it ever so large."""
    boards = [
        metered("GPU-a", 10),
        metered("GPU-b", 10),
        metered("GPU-c", 10, "n2"),
        *(metered(f"GPU-x{n}", 10, "n9") for n in range(5)),
    ]
    expected = (row(""), row("", node="n2"))
    assert coverage(sums(*boards), Organisation(expected=expected))["fra"].share == 1
    dead = Organisation(expected=(*expected, row("", node="n3")))
    assert coverage(sums(*boards), dead)["fra"].share == Fraction(3, 5)
    assert coverage(sums(), dead)["fra"].expected_ns == 3 * 10 * DAY


def test_the_row_of_a_site_s_process_changes_no_coverage() -> None:
    """Nine nodes of eight boards, one dead: 72 of 80. The process that reads the building's meters has no board."""
    boards = [metered(f"GPU-{n}-{b}", 10, f"n{n}") for n in range(9) for b in range(8)]
    nodes = tuple(row("", node=f"n{n}") for n in range(10))
    organisation = Organisation(expected=(*nodes, row("", node="fra")))
    recorded = replace(sums(*boards), meter_nodes=frozenset({("fra", "c", "fra")}))
    site_coverage = coverage(recorded, organisation)["fra"]
    assert site_coverage == coverage(recorded, Organisation(expected=nodes))["fra"]
    assert (site_coverage.share, site_coverage.unseen_nodes) == (Fraction(72, 80), 1)
    # A node that recorded GPUs as well is a node of the fleet, and so is one that recorded nothing.
    both = replace(recorded, meter_nodes=frozenset({("fra", "c", "n0")}))
    assert coverage(both, organisation)["fra"].expected_ns == 11 * 8 * 10 * DAY


def test_what_no_inventory_has_covers_nothing() -> None:
    site_coverage = coverage(
        sums(metered("GPU-a", 10), metered("GPU-x", 10)), Organisation(expected=(row("GPU-a"), row("GPU-b")))
    )["fra"]
    assert (site_coverage.share, site_coverage.unlisted) == (Fraction(1, 2), ("GPU-x",))


def test_without_an_inventory_a_device_that_moved_was_at_each_site_until_it_was_seen_at_the_next() -> None:
    """GPU-a at fra on days 10 to 13, on the move on day 13, at oslo from day 14: 3 of 4 and 6 of 6; GPU-b 10 of 10."""
    moved = [metered("GPU-a", 3, until=13), replace(metered("GPU-a", 6, since=14), site="oslo"), metered("GPU-b", 10)]
    both = LedgerSums({"fra": WINDOW, "oslo": WINDOW}, simulated=False, parts={}, metered_devices=tuple(moved))
    by_site = coverage(both, Organisation())
    assert {site: c.share for site, c in by_site.items()} == {"fra": Fraction(13, 14), "oslo": Fraction(1)}


def test_without_an_inventory_it_is_of_what_was_seen() -> None:
    by_site = coverage(sums(metered("GPU-a", 10), metered("GPU-b", 5)), Organisation.nothing())
    assert (by_site["fra"].share, by_site["fra"].listed) == (Fraction(15, 20), False)
    assert together(by_site).share == Fraction(15, 20)
    assert together(coverage(sums(), Organisation.nothing())).share is None
