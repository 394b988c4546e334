"""Types of options: what they take, and that the parser refuses anything else."""

import argparse
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

import pytest

from wattlens.cli._options import Pairs, day, duration, moment, moment_text, number, share


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (number(int, 1, 5), "5", 5),
        (number(float, 0.5, 5), "0.5", 0.5),
        (number(Decimal, 0, 5, above=True), "0.01", Decimal("0.01")),
        (share(), "5%", Fraction(1, 20)),
        (share(), "12.5 %", Fraction(1, 8)),
        (share(), "0.05", Fraction(1, 20)),
        (share(), "1", Fraction(1)),
        (share(), "0", Fraction(0)),
        (share(0.001), "0.1%", Fraction(1, 1000)),
        (share(0, 0.99), "99%", Fraction(99, 100)),
        (duration(), "90s", 90.0),
        (duration(), "0.5m", 30.0),
        (duration(60, 86_400), "1d", 86_400.0),
        (moment, "2026-01-31", datetime(2026, 1, 31, tzinfo=UTC)),
        (moment, "2026-01-31T12:15+02:00", datetime(2026, 1, 31, 12, 15, tzinfo=timezone(timedelta(hours=2)))),
        (day, "2026-01-31", date(2026, 1, 31)),
    ],
)
def test_values_are_taken(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse, text)
        for parse, texts in (
            (number(int, 1, 5), ["0", "6", "2.5", "two", ""]),
            (number(float, 0, 5), ["-0.1", "5.1", "nan", "inf", "x"]),
            (number(Decimal, 0, 5, above=True), ["0", "nan", "sNaN", "-1", "5.01", "x"]),
            (share(above=True), ["5 percent", "0", "0%", "101%", "-5%", "nan", "", "1e-3", "2"]),
            (duration(1, 7200), ["5", "60", "1.5", "0s", "3h", "s", "1w", "-1s", "1000000000s"]),
            (moment, ["someday", "2026-13-01"]),
            (day, ["yesterday", "2026-02-30"]),
        )
        for text in texts
    ],
)
def test_anything_else_is_refused(parse, text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"^expected "):
        parse(text)


def test_words_are_times():
    now = datetime.now(UTC)
    assert now - timedelta(days=7, minutes=16) < moment("7d") <= now - timedelta(days=7)
    assert moment("yesterday").time() == datetime.min.time()
    assert datetime.fromisoformat(moment_text("monday")).weekday() == 0
    assert moment_text("2026-07-01") == "2026-07-01"


def test_pairs_are_collected_and_a_key_has_one_value():
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--label", action=Pairs, default={})
    assert parser.parse_args([]).label == {}
    assert parser.parse_args(["--label", "a=1", "--label", "b=x=y"]).label == {"a": "1", "b": "x=y"}
    assert parser.parse_args([]).label == {}


@pytest.mark.parametrize("texts", [["no"], ["=1"], ["a=1", "a=2"]])
def test_pairs_without_a_key_or_with_two_values_are_refused(texts):
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--label", action=Pairs, default={})
    with pytest.raises(argparse.ArgumentError, match="--label: expected "):
        parser.parse_args([word for text in texts for word in ("--label", text)])
