"""The facts document as canonical JSON: sorted keys, ASCII, one trailing newline, so that its bytes can be hashed."""

import json
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from reports.facts import Facts, UsedFactor


def facts_json(facts: Facts) -> bytes:
    """The document. Every energy is text, for readers whose numbers are floats."""
    document = asdict(facts)
    for name in ("days", "files", "factors", "contact", "figures", "conservation"):
        del document[name]
    document["contact"] = facts.contact
    document["figures"] = [asdict(facts.figures[identity]) for identity in sorted(facts.figures)]
    document["conservation"] = {name: str(uj) for name, uj in asdict(facts.conservation).items()}
    document["conservation"] |= {"buckets_uj": str(facts.conservation.buckets_uj), "holds": facts.conservation.holds}
    document["factors"] = [asdict(used.factor) | _beside(used) for used in facts.factors]
    document["inputs"] = {
        "days": [asdict(day) for day in facts.days],
        "files": [{"name": name, "sha256": digest} for name, digest in facts.files],
    }
    return (json.dumps(document, sort_keys=True, indent=1, ensure_ascii=True, default=_text) + "\n").encode("ascii")


def _beside(used: UsedFactor) -> dict[str, str]:
    return {"sha256": used.sha256} | ({"why": used.why} if used.why else {})


def _text(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"no JSON form for {type(value).__name__}")
