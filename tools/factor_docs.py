"""The tables of factor files in docs/factor-tables.md, from the files."""

from collections.abc import Iterable

from energy_agent.factors import embodied_source, equivalents
from energy_agent.factors.dated_table import DatedTable
from energy_agent.factors.set_file import FactorSet
from energy_agent.factors.sets import shipped
from tools.markdown import row


def tables() -> str:
    """What there is at a glance, and then all that is known of each file."""
    listed = list(shipped())
    head = (
        "\n| file | years | emissions | mix | gases | origin | licence | rows | missing |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    )
    rows = "".join(
        row(f"[`{s.file}`](#{s.id.replace('.', '')})", s.years, f"{s.basis.boundary}, {s.basis.accounting}", s.mix,
              s.basis.gases, s.evidence, s.licence, str(s.rows), str(len(s.missing)))
        for s in listed
    )  # fmt: skip
    return head + rows + "".join(map(_section, listed)) + "\n"


def other_tables() -> str:
    """Known figures for embodied emissions and comparisons, each with its source."""
    about, figures = embodied_source.shipped()
    heads = ("id", "what", "for names with", "kg CO2e", "GPUs", "boundary", "year", "source", "licence", "note")
    rows = [
        (
            f"`{s.id}`", str(s.what), f"{s.sku} (not {s.not_sku})" if s.not_sku else s.sku,
            str(s.kg_low) if s.kg_low == s.kg_high else f"{s.kg_low} to {s.kg_high}", str(s.gpus), s.boundary, s.year,
            f"{s.attribution}; {s.source}", s.licence, s.note,
        )
        for s in figures
    ]  # fmt: skip
    compared_about, compared = equivalents.shipped()
    compared_heads = ("id", "counted in", "each", "conditions", "edition", "source", "licence")
    compared_rows = [
        (
            f"`{e.id}`", e.unit_text, f"{e.grams_each} g {e.gases}", e.conditions, e.edition, f"{e.attribution}; {e.source}",
            e.licence,
        )
        for e in compared
    ]  # fmt: skip
    embodied = _dated_table(about, embodied_source.FILE, heads, rows)
    return "\n" + embodied + _dated_table(compared_about, equivalents.FILE, compared_heads, compared_rows)


def _dated_table(about: DatedTable, file: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return (
        f"### {about.id}\n\n{about.title}: `energy_agent/factors/tables/{file}.csv`, {len(about.rows)} rows, {about.edition}, "
        f"SHA-256 `{about.csv_sha256}`. {about.note[0].upper()}{about.note[1:]}. To update: {about.update}.\n\n"
        + row(*heads)
        + row(*("---",) * len(heads))
        + "".join(row(*cells) for cells in rows)
        + "\n"
    )


def _section(s: FactorSet) -> str:
    cells = {
        "what": s.title,
        "file": f"`energy_agent/factors/data/{s.file}`, {s.rows} rows, in {s.unit}",
        "publisher": s.publisher,
        "edition": s.edition,
        "taken from": s.source,
        "SHA-256 of that": s.source_sha256 if " " in s.source_sha256 else f"`{s.source_sha256}`",
        "SHA-256 of the table": f"`{s.csv_sha256}`",
        "published": s.published,
        "taken on": s.fetched,
        "origin": s.evidence,
        "years": s.years,
        "emissions": f"{s.basis.boundary}; {s.mix} mix; {s.basis.accounting}",
        "gases": f"{s.basis.gases}; GWP: {s.gwp_set}",
        "quality": str(s.quality),
        "uncertainty": s.uncertainty,
        "licence": s.licence,
        "attribution": s.attribution,
        "update": s.update,
        "note": s.note or "none",
    }
    return f"\n### {s.id}\n\n| | |\n| --- | --- |\n" + "".join(row(key, text) for key, text in cells.items())
