"""The facts document as canonical JSON: sorted keys, ASCII, one trailing newline, so that its bytes can be hashed."""

import json
from dataclasses import asdict, is_dataclass
from decimal import Decimal
from typing import Any

from reports.facts import Facts


def facts_json(facts: Facts, hidden: dict[str, str]) -> str:
    """The document as text.

    Args:
        facts: the facts.
        hidden: sections that are not shown -> why.
    """
    document = _plain(facts)
    document["conservation"] |= {"buckets_uj": str(facts.conservation.buckets_uj), "holds": facts.conservation.holds}
    return json.dumps(document | {"hidden_sections": hidden}, sort_keys=True, indent=1, ensure_ascii=True, default=_text) + "\n"


def _plain(facts: Facts) -> dict[str, Any]:
    """Plain JSON types; every energy is text, for readers whose numbers are floats."""
    document = asdict(facts)
    document["figures"] = [asdict(facts.figures[identity]) for identity in sorted(facts.figures)]
    document["conservation"] = {name: str(uj) for name, uj in asdict(facts.conservation).items()}
    return document


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"no JSON form for {type(value).__name__}, dataclass: {is_dataclass(value)}")
