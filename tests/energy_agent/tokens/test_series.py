"""Prometheus text format line by line, compared with the official parser, and lines that only a hostile server writes."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from energy_agent.core.text import is_printable, printable
from energy_agent.tokens.reading import EndpointError
from energy_agent.tokens.series import LABEL_LIMIT, ResponseSample, series


def parse(text: str) -> list[tuple[dict[str, str], float]]:
    return [(each.labels, each.value) for each in series(text, {"x", "y"})]


def test_every_form_of_a_line() -> None:
    for line, labels, value in (
        ("x 1", {}, 1.0),
        ("x\t1", {}, 1.0),
        ("  x 1", {}, 1.0),
        ("x{} 1", {}, 1.0),
        ("x{ } 1", {}, 1.0),
        ('x{a="b"}1', {"a": "b"}, 1.0),
        ('x{a="b",} 1', {"a": "b"}, 1.0),
        ('x { a = "b" , c = "d" } 1', {"a": "b", "c": "d"}, 1.0),
        ('x{a="}{,=#"} 1', {"a": "}{,=#"}, 1.0),
        (r'x{a="\"\\\n\t"} 1', {"a": '"\\?\\t'}, 1.0),
        ('x{a="b"} 1 1700000000000', {"a": "b"}, 1.0),
        ('x{a="b"} 1 1700000000.123', {"a": "b"}, 1.0),
        ('x{a="b"} 17 # {trace_id="} 5"} 0.67 1700000000.1', {"a": "b"}, 17.0),
        ("x 1\r", {}, 1.0),
        ("x 1.5e+03", {}, 1500.0),
        ("x .5", {}, 0.5),
        ("x 5.", {}, 5.0),
        ("x +Inf", {}, math.inf),
        ("x -Inf", {}, -math.inf),
    ):
        assert parse(f"{line}\n") == [(labels, value)], line
    assert math.isnan(parse("x NaN\n")[0][1])
    assert parse("# HELP x 1\n# TYPE x counter\n# EOF\nxx 1\nx:a 1\nz 1\n\n") == []
    assert len(parse("x 1\nx 1\n")) == 2, "the reader decides on duplicates"


def test_lines_that_are_not_the_format() -> None:
    for line in (
        "x ", "x 1 2 3", "x 1_000", "x 0x10", "x one", "x 1e", "x infinite", "x{", 'x{a="b" 1', 'x{a="b} 1', "x{a=b} 1",
        'x{a="b" c="d"} 1', 'x{a="b",,} 1',
        'x{a="1",a="2"} 1', 'x{1a="b"} 1', 'x{="b"} 1', 'x{"a"="b"} 1', 'x{a="b"}', "x{}} 1",
        "x \x00 1", "x " + "1" * 10 + "é",
        "x{" + ",".join(f'l{n}="v"' for n in range(65)) + "} 1",
    ):  # fmt: skip
        with pytest.raises(EndpointError) as caught:
            parse(f"{line}\n")
        assert is_printable(str(caught.value))


def test_long_label_values_are_cut() -> None:
    assert parse(f'x{{a="{"y" * 5000}"}} 1\n')[0][0] == {"a": "y" * LABEL_LIMIT}


def test_no_line_costs_more_than_its_length() -> None:
    """Each of these makes a backtracking parser try every way to cut it."""
    for line in (
        'x{a="' + '\\"' * 100_000, "x{" + "a" * 200_000, "x{" + '"" ' * 70_000, "x " + "1" * 200_000 + "z", "x{" * 100_000,
        'x{a="b"' + " " * 200_000 + "!", "x " + " " * 200_000 + "!", "x{" + 'a="b",' * 40_000,
    ):  # fmt: skip
        with pytest.raises(EndpointError):  # quadratic would be minutes
            parse(f"{line}\n")


LABELS = st.dictionaries(
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), max_size=20),
    max_size=4,
)


@given(st.lists(st.tuples(LABELS, st.floats()), max_size=6))
def test_agrees_with_the_official_parser_but_for_control_characters(samples: list[tuple[dict[str, str], float]]) -> None:
    def escape(value: str) -> str:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

    text = "".join(
        "x{" + ",".join(f'{name}="{escape(value)}"' for name, value in labels.items()) + f"}} {value!r}\n"
        for labels, value in samples
    ).replace("} inf", "} +Inf").replace("} -inf", "} -Inf").replace("} nan", "} NaN")  # fmt: skip
    official = [
        ResponseSample(s.name, {name: printable(value) for name, value in s.labels.items()}, s.value)
        for family in text_string_to_metric_families(text)
        for s in family.samples
    ]
    assert [repr(each) for each in series(text, {"x"})] == [repr(each) for each in official]


@given(st.text(alphabet='x{}a="\\, 1.eE+-#\t\r', max_size=40))
def test_any_line_is_a_series_or_a_reason(text: str) -> None:
    try:
        parsed_series = list(series(f"x{text}\n", {"x"}))
    except EndpointError:
        return
    assert all(isinstance(each.value, float) for each in parsed_series)
