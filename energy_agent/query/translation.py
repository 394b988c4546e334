"""Statements in DuckDB's dialect, written for another engine by sqlglot. Every sum is one of DECIMAL(38, 0).

DuckDB sums integers in 128 bits. Other engines sum them in 64 bits, which the microjoules of a fleet's quarter pass, and which
DataFusion then wraps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from energy_agent.core.errors import UsageError

SPARK: Final = "spark"
DATAFUSION: Final = "postgres"
"""sqlglot's names of the dialects; DataFusion reads that of PostgreSQL, but for what is translated here."""


@dataclass(frozen=True, slots=True)
class TranslatedStatement:
    """A query, and what it makes: a table or view of a name, or nothing."""

    query: str
    makes: str = ""
    is_table: bool = False


def translate(text: str, dialect: str, parameters: Sequence[Any] = ()) -> Iterator[TranslatedStatement]:
    """The statements of a text, with the parameters in place of question marks.

    Args:
        text: statements that select, or that make or replace a table or view by selecting.
        dialect: of sqlglot.
        parameters: whole numbers and texts.

    Raises:
        UsageError: sqlglot is not installed.
    """
    try:
        import sqlglot
        from sqlglot import expressions
    except ImportError:
        raise UsageError("--engine needs sqlglot, which is in the extras of other engines than DuckDB") from None
    values = iter(parameters)
    for tree in sqlglot.parse(text, read="duckdb"):
        if tree is None:
            continue
        for mark in list(tree.find_all(expressions.Placeholder)):
            mark.replace(expressions.convert(next(values)))
        for total in list(tree.find_all(expressions.Sum)):
            wide = "DECIMAL(38, 0)" if dialect == SPARK else "DECIMAL(76, 0)"  # DataFusion wraps sums, but checks casts
            total.set("this", expressions.cast(total.this.copy(), wide))
            if dialect == DATAFUSION:
                total.replace(expressions.cast(total.copy(), "DECIMAL(38, 0)"))
        for best in list(tree.find_all(expressions.ArgMax)):
            value, order = best.this.sql(dialect), best.expression.sql(dialect)
            function = (
                f"max_by({value}, {order})" if dialect == SPARK else f"first_value({value} ORDER BY {order} DESC NULLS LAST)"
            )
            best.replace(sqlglot.parse_one(f"{function} FILTER (WHERE {value} IS NOT NULL)", read=dialect))
        if isinstance(tree, expressions.Create):
            query = tree.expression.sql(dialect, identify=True)
            yield TranslatedStatement(query, tree.this.name, tree.kind == "TABLE")
        else:
            yield TranslatedStatement(tree.sql(dialect, identify=True))


def whole(value: Any) -> Any:
    """A value of a row; decimals, which have no fraction, as integers."""
    return int(value) if type(value).__name__ == "Decimal" else value
