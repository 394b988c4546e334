"""Rows as a pandas DataFrame with exact microjoules. pandas is imported when a frame is requested."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint

if TYPE_CHECKING:
    import pandas


def reasons_text(absent: Mapping[str, str]) -> str:
    """Reasons of absent values in one line."""
    return "; ".join(f"{name}: {reason}" for name, reason in absent.items())


_TYPES: Final = (
    ("_uj", Decimal, "decimal128(38, 0)[pyarrow]"),
    ("tokens$|steps$|^(gpus|nodes|workloads)$", int, "Int64"),
    ("simulated|is_significant", bool, "boolean"),
    ("absent", reasons_text, "string"),
    ("kind|name|job|currency|boundary|method", str, "string"),
    ("", float, "Float64"),
)
"""Types of columns by their names: the first that matches."""


def to_frame(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str], starts_ns: Sequence[int], attrs: Mapping[str, Any]
) -> "pandas.DataFrame":
    """Rows as a frame; a column's type follows from its name, so that it does not depend on the rows.

    Microjoules are decimal128(38, 0) of Arrow: sums are exact, and more than 38 digits are an error. All types have a missing
    value, `<NA>`, which is not 0.

    Args:
        rows: values by column; numbers may be text, and `absent` maps missing values to reasons.
        columns: in their order.
        starts_ns: UTC ns of each row, for the index.
        attrs: provenance; pandas keeps it in Parquet files.

    Raises:
        ImportError: the extra `query` is not installed.
    """
    try:
        import pandas as pd

        from energy_agent.ledger.fleet.parquet import decimal_type

        types = {"decimal128(38, 0)[pyarrow]": pd.ArrowDtype(decimal_type())}
    except (ImportError, UsageError):
        raise ImportError(f"data frames require the extra `query`: {install_hint('query')}") from None
    series = {}
    for column in columns:
        convert, dtype = next((convert, dtype) for pattern, convert, dtype in _TYPES if re.search(pattern, column))
        values = [None if row[column] is None else convert(row[column]) for row in rows]
        series[column] = pd.array(values, dtype=types.get(dtype, dtype))
    frame = pd.DataFrame(series, index=pd.DatetimeIndex(pd.to_datetime(list(starts_ns), utc=True), name="start"))
    frame.attrs = dict(attrs)
    return frame
