"""What an engine did between two readings, as rows of the ledger. Pure."""

from collections.abc import Mapping

from energy_agent.core.energy import Tokens
from energy_agent.core.tokens import TokenDelta, TokenTotals

PHASES = {"prompt": "computed", "cached": "cached", "generation": "generation"}
"""Phases of tokens and the counters they are: disjoint, so that their sum is what was processed."""


def rows(delta: TokenDelta) -> list[Tokens]:
    """Its tokens by phase."""
    counts = ((phase, getattr(delta, count)) for phase, count in PHASES.items())
    return [Tokens(delta.start_ns, delta.end_ns, delta.workload, delta.model, phase, n) for phase, n in counts if n is not None]


def zeros(totals: TokenTotals, before: Mapping[str, int], t_ns: int) -> list[Tokens]:
    """Counters appear at 0 when they are first seen."""
    fresh = [phase for phase, count in PHASES.items() if count in totals.counts and count not in before]
    return [Tokens(t_ns, t_ns, totals.workload, totals.model, phase, 0) for phase in fresh]
