"""The page of factor files documents every field of every file."""

from pathlib import Path

from energy_agent.factors import embodied_source, equivalents
from energy_agent.factors.sets import shipped
from tools.factor_docs import other_tables

PAGE = Path(__file__).resolve().parents[2] / "docs/factor-tables.md"


def test_each_file_has_every_field_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for meta in shipped():
        section = page.partition(f"### {meta.id}\n")[2].partition("\n### ")[0]
        for value in (
            meta.file, meta.publisher, meta.edition, meta.source, meta.source_sha256, meta.csv_sha256, meta.fetched, meta.years,
            meta.basis.boundary, meta.basis.accounting, meta.mix, meta.basis.gases, meta.gwp_set, meta.licence,
            meta.attribution, meta.uncertainty, meta.update, f"{meta.rows} rows", f"| quality | {meta.quality} |",
        ):  # fmt: skip
            assert value in section, (meta.id, value)


def test_each_figure_beside_energy_is_on_the_page_with_its_source() -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = other_tables().splitlines()
    for figure in embodied_source.shipped()[1]:
        (line,) = [each for each in lines if each.startswith(f"| `{figure.id}` |")]
        for value in (
            figure.what,
            figure.sku,
            str(figure.kg_low),
            str(figure.kg_high),
            figure.boundary,
            figure.year,
            figure.source,
        ):
            assert value in line, (figure.id, value)
        assert figure.licence in line
        assert figure.attribution in line
    for compared in equivalents.shipped()[1]:
        (line,) = [each for each in lines if each.startswith(f"| `{compared.id}` |")]
        for value in (str(compared.grams_each), compared.conditions, compared.edition, compared.source, compared.licence):
            assert value in line, (compared.id, value)
    for about in (embodied_source.shipped()[0], equivalents.shipped()[0]):
        assert about.csv_sha256 in page
