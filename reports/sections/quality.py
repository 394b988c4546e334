"""Whether the figures can be believed: conservation, how joules were measured, what was not seen."""

from fractions import Fraction

from reports import wording
from reports.facts import Facts
from reports.figures import energy_text, quotient_text
from reports.sections._section import Block, Check, Note, Section


def build(facts: Facts) -> tuple[Block, ...]:
    """The statement of conservation first, since every other figure stands on it."""
    sums = facts.conservation

    def joules(energy_uj: int) -> str:
        return wording.exact(energy_text(energy_uj))

    statement = (
        f"active {joules(sums.active_uj)} + held idle {joules(sums.idle_uj)} + not held {joules(sums.unheld_uj)} "
        f"+ not attributed {joules(sums.unattributed_uj)} = {joules(sums.buckets_uj)} J; devices {joules(sums.device_uj)} J"
    )
    methods = ", ".join(f"{f.dims['method']} {wording.percent(f.value or '0')}" for f in facts.by_prefix("quality.method/"))
    coverage = facts.figures["quality.coverage"].value or "0"
    return (
        Check(sums.holds, f"Every joule is booked once: {statement}."),
        Note(f"Measured by: {methods or 'nothing'}. Metered {wording.percent(coverage)} of the period's device time."),
        Note(_gaps(facts)),
    )


def _gaps(facts: Facts) -> str:
    gaps = facts.by_prefix("gap/")
    if not gaps:
        return "No gaps: no energy went unseen while a device was in the ledger."
    bound = quotient_text(sum((Fraction(f.high or 0) for f in gaps), Fraction(0)), "up")
    seconds = quotient_text(sum((Fraction(f.dims["seconds"]) for f in gaps), Fraction(0)), "nearest", 3)
    reasons = ", ".join(sorted({f.dims["reason"].replace("_", " ") for f in gaps}))
    devices = len({f.dims["device"] for f in gaps})
    return (
        f"Gaps of {seconds} s in sum on {devices} device{'s' if devices > 1 else ''} ({reasons}): at most "
        f"{wording.energy(bound)} went unseen. It is in no sum, and in the upper bound of what it may belong to."
    )


SPEC = Section("Data quality", 70, build, wide=True)
