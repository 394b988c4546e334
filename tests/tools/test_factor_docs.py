"""The page of factor files documents every field of every file."""

from pathlib import Path

from energy_agent.factors import embodied_source, equivalents
from energy_agent.factors.sets import shipped
from tools.factor_docs import other_tables

PAGE = Path(__file__).resolve().parents[2] / "docs/factor-tables.md"


def test_each_file_has_every_field_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for held in shipped():
        section = page.partition(f"### {held.id}\n")[2].partition("\n### ")[0]
        for told in (
            held.file, held.publisher, held.edition, held.source, held.source_sha256, held.csv_sha256, held.fetched, held.years,
            held.basis.boundary, held.basis.accounting, held.mix, held.basis.gases, held.gwp_set, held.licence,
            held.attribution, held.uncertainty, held.update, f"{held.rows} rows", f"| quality | {held.quality} |",
        ):  # fmt: skip
            assert told in section, (held.id, told)


def test_each_figure_beside_energy_is_on_the_page_with_its_source() -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = other_tables().splitlines()
    for figure in embodied_source.shipped()[1]:
        (line,) = [each for each in lines if each.startswith(f"| `{figure.id}` |")]
        for told in (
            figure.what,
            figure.sku,
            str(figure.kg_low),
            str(figure.kg_high),
            figure.boundary,
            figure.year,
            figure.source,
        ):
            assert told in line, (figure.id, told)
        assert figure.licence in line
        assert figure.attribution in line
    for compared in equivalents.shipped()[1]:
        (line,) = [each for each in lines if each.startswith(f"| `{compared.id}` |")]
        for told in (str(compared.grams_each), compared.conditions, compared.edition, compared.source, compared.licence):
            assert told in line, (compared.id, told)
    for about in (embodied_source.shipped()[0], equivalents.shipped()[0]):
        assert about.csv_sha256 in page
