"""Colours have the contrast of text (WCAG 2.2, 1.4.3), shapes that of graphics (1.4.11), and greyscale loses no information."""

import itertools
import re
from importlib.resources import files

import pytest

from reports.render.charts import palette

TEXT, SHAPE = 4.5, 3.0


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_formula_matches_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the best known grey that just fails


@pytest.mark.parametrize("ground", [palette.PAPER, palette.TINT, "#eef1f2"], ids=["paper", "tint", "watermark"])
@pytest.mark.parametrize("ink", [palette.INK, palette.SOFT, palette.WARN, palette.ACCENT])
def test_text_is_readable_on_paper_tint_and_watermark(ink: str, ground: str) -> None:
    assert contrast(ink, ground) >= TEXT


@pytest.mark.parametrize("colour", [colour for colour, _ in palette.LINES])
def test_a_series_and_its_name_are_readable(colour: str) -> None:
    assert contrast(colour, palette.PAPER) >= TEXT


@pytest.mark.parametrize("fill", [*palette.KINDS.values(), palette.LEVEL, palette.RISE, palette.FALL])
def test_a_bar_is_seen_by_its_edge(fill: palette.Fill) -> None:
    assert contrast(fill.edgecolor, palette.PAPER) >= SHAPE


def test_kinds_and_series_differ_without_colour() -> None:
    assert len({fill.hatch for fill in palette.KINDS.values()}) == len(palette.KINDS)
    assert len({fill.hatch for fill in (palette.LEVEL, palette.RISE, palette.FALL)}) == 3
    assert len({dash for _, dash in palette.LINES}) == len(palette.LINES)


def test_more_is_darker_step_by_step() -> None:
    light = [luminance(colour) for colour in palette.HEAT]
    assert light == sorted(light, reverse=True)
    assert all(a / b > 1.15 for a, b in itertools.pairwise(light))


@pytest.mark.parametrize("name", ["report.css", "report.typ"])
def test_the_templates_use_these_colours(name: str) -> None:
    text = files("reports").joinpath(f"templates/{name}").read_text(encoding="utf-8")
    palette_colours = {palette.INK, palette.SOFT, palette.RULE, palette.TINT, palette.ACCENT, palette.WARN}
    for mark in ("ink", "soft", "rule", "accent", "warn"):
        (colour,) = re.findall(rf'(?:--{mark}: |#let {mark} = rgb\(")(#[0-9a-f]{{6}})', text)
        assert colour == getattr(palette, mark.upper())
    others = set(re.findall(r"#[0-9a-f]{6}\b", text)) - palette_colours
    grounds = {"#fff8ec", "#eef1f2"}
    assert all(contrast(colour, palette.PAPER) >= TEXT for colour in others - grounds)
    assert all(contrast(ink, "#fff8ec") >= TEXT for ink in (palette.INK, palette.WARN, "#5c2a08"))
