"""The table of OpenTelemetry names is up to date."""

from pathlib import Path

from tools import otlp_docs as docs

PAGE = Path(__file__).resolve().parents[2] / "docs/otlp.md"


def test_the_page_is_fresh() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert docs.replaced(page) == page, "run python -m tools.otlp_docs docs/otlp.md"
