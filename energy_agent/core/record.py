"""Frozen data classes that are cheap to make.

`dataclass(frozen=True)` makes each field by a call of `object.__setattr__`, five times the price of an assignment, and every
reading of every device is such an object. The type checker takes `record` for `dataclass` and refuses an assignment to a field
of a frozen one; at run time nothing stands in its way, as nothing in Python ever quite does.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as record
else:
    from dataclasses import dataclass

    def record(*, frozen: bool, slots: bool) -> Any:
        """As `dataclass(frozen=True, slots=...)`: compared and hashed by its fields."""
        assert frozen
        return dataclass(slots=slots, unsafe_hash=True)


__all__ = ["record"]
