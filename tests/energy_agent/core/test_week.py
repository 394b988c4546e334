"""Times of the week as people write them."""

import pytest

from energy_agent.core.week import parse_span


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("Mon-Fri 08:00-18:00", [(0, 480), (4, 1079)], [(0, 479), (4, 1080), (5, 600)]),
        ("Sat,Sun 00:00-24:00", [(5, 0), (6, 1439)], [(4, 1439), (0, 0)]),
        ("22:00-06:00", [(0, 1320), (3, 0), (6, 359)], [(0, 360), (2, 1319)]),
        ("Fri 22:00-06:00", [(4, 1320), (5, 359)], [(5, 1320), (4, 359)]),
        ("Fri-Mon 10:00-11:00", [(4, 600), (6, 600), (0, 659)], [(1, 600), (3, 600)]),
    ],
)
def test_times_of_the_week(text: str, inside: list[tuple[int, int]], outside: list[tuple[int, int]]) -> None:
    assert all(parse_span(text).holds(*at) for at in inside)
    assert not any(parse_span(text).holds(*at) for at in outside)


@pytest.mark.parametrize("text", ["", "Mon", "Mon 8-18", "Mon 08:00", "Mo 08:00-18:00", "08:60-09:00", "08:00-25:00", "a b c",
                                  "08:00-08:00", "24:00-06:00", "Mon-Fri 08:00-18:00 x", "mon- 08:00-09:00"])  # fmt: skip
def test_times_that_are_none_say_what_is_wanted(text: str) -> None:
    with pytest.raises(ValueError, match=r"DAYS HH:MM"):
        parse_span(text)
