"""J per generated token: the join of the ledger's energy with its token counts. Pure."""

from fractions import Fraction

from energy_agent.core.units import UJ_PER_J
from reports.figures import BOUNDARY, LEDGER, Figure, quotient_bounds, quotient_text
from reports.intervals import of_holders, of_rows
from reports.sums import HELD, Selection, Sums

TOKENS = (*LEDGER, "tokens")


def token_figures(sums: Sums, coverage: str) -> list[Figure]:
    """J per generated token: per workload, and per model where the workloads that served it served nothing else."""
    energy = sums.by_workload()
    generated: dict[str, dict[str, int]] = {}
    figures = []
    for (w, model, phase), count in sorted(sums.tokens.items()):
        dims = {"workload": w, "model": model, "phase": phase}
        figures.append(
            Figure(f"tokens/{w}/{model}/{phase}", str(count), "tokens", "counter", BOUNDARY, sources=TOKENS, dims=dims)
        )
        if phase == "generation":
            generated.setdefault(w, {})[model] = count
    for w, served in sorted(generated.items()):
        part = energy.get(w, Selection([]))
        dims = {"workload": w, "model": ", ".join(sorted(served))}
        figures += _joules_per_token(sums, coverage, f"workload/{w}", part, sum(served.values()), dims)
    for model in sorted({m for served in generated.values() for m in served}):
        servers = sorted(w for w, served in generated.items() if model in served)
        mixed = [w for w in servers if len(generated[w]) > 1]
        part = Selection([item for w in servers if w in energy for item in energy[w].items])
        reason = f"{mixed[0]} serves several models and its energy is not split between them" if mixed else ""
        tokens = sum(generated[w][model] for w in servers)
        figures += _joules_per_token(sums, coverage, f"model/{model}", part, tokens, {"model": model}, reason)
    return figures


def _joules_per_token(
    sums: Sums, coverage: str, of: str, held: Selection, tokens: int, dims: dict[str, str], reason: str = ""
) -> list[Figure]:
    figures = []
    for basis, states in (("active", HELD[:1]), ("active+idle", HELD)):
        part = held.held(*states)
        identity, labels = f"joules_per_token.{basis}/{of}", {**dims, "energy": basis}
        why = reason or ("" if tokens else "no token was generated") or ("" if part.energy_uj else "no energy was booked to it")
        if why:
            figures.append(Figure(identity, None, "J/token", part.methods(), BOUNDARY, dims=labels, reason=why))
            continue
        per_token = Fraction(1, tokens * UJ_PER_J)
        bounds = of_holders if states == HELD else of_rows
        low, high = quotient_bounds(bounds(sums, part), per_token)
        value = quotient_text(part.energy_uj * per_token)
        figures.append(Figure(identity, value, "J/token", part.methods(), BOUNDARY, coverage, low, high, TOKENS, dims=labels))
    return figures
