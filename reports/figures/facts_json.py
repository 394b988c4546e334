"""The facts document as canonical JSON: sorted keys, ASCII, one trailing newline, so that its bytes can be hashed."""

import json
from dataclasses import fields, is_dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from reports.figures.facts import Facts, SitePeriod, UsedFactor
from reports.figures.figure import plain


def facts_json(facts: Facts) -> bytes:
    """The document. Every energy is text, for readers whose numbers are floats."""
    document = _fields(facts)
    document["figures"] = [facts.figures[identity] for identity in sorted(facts.figures)]
    if (sums := facts.conservation) is not None:
        document["conservation"] = {name: str(uj) for name, uj in _fields(sums).items()}
        document["conservation"] |= {"buckets_uj": str(sums.buckets_uj), "holds": sums.holds}
    document["edition"] = facts.edition + 1
    document["factors"] = [_fields(used.factor) | _origin(used) for used in facts.factors]
    files = [{"name": name, "sha256": digest} for name, digest in document.pop("files")]
    document["inputs"] = {"days": document.pop("days"), "files": files}
    if not facts.restated_inputs:
        del document["restated_inputs"]
    return (json.dumps(document, sort_keys=True, indent=1, ensure_ascii=True, default=_plain) + "\n").encode("ascii")


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _origin(used: UsedFactor) -> dict[str, Any]:
    return {"sha256": used.sha256, "requests": used.requests, "why": used.why}


def _plain(value: Any) -> str | dict[str, Any]:
    if isinstance(value, Fraction):
        return plain(value)
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, SitePeriod):  # a mark that does not apply is not in the document
        return {name: each for name, each in _fields(value).items() if each or name not in ("first", "invoiced")}
    if is_dataclass(value):
        return _fields(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")
