"""Whether the figures can be believed: conservation, coverage, methods, what was not seen, what is uncertain."""

from fractions import Fraction

from energy_agent.core.boundary import UNBOUNDED
from reports.figures import wording
from reports.figures.facts import Facts
from reports.figures.figure import Figure, energy_text, quotient_text
from reports.language import Say
from reports.page.section import Block, Check, Heat, Note, Section, Table

_CALENDAR_MOST = 100


def build(facts: Facts, say: Say) -> tuple[Block, ...]:
    """The statement of conservation first, since every other figure stands on it."""
    blocks: list[Block] = [_conservation(facts, say), *_calendar(facts, say), *_missed(facts, say), *_methods(facts, say)]
    blocks += [_budget(facts, say), *_gaps(facts, say), *_imputed(facts, say), *_checks(facts, say)]
    return tuple(blocks)


def _conservation(facts: Facts, say: Say) -> Check:
    sums = facts.conservation
    joules = {
        name: wording.exact(energy_text(getattr(sums, f"{name}_uj")))
        for name in ("active", "idle", "unheld", "unattributed", "buckets", "device")
    }
    text = (
        "Every joule of the GPUs is booked once: active {active} + held idle {idle} + not held {unheld} + not attributed "
        "{unattributed} = {buckets} J; devices {device} J."
    )
    return Check(sums.holds, say(text, **joules))


def _calendar(facts: Facts, say: Say) -> list[Block]:
    """Metered device time by day, as a share of the site's best day."""
    rows, names = [], []
    points: tuple[str, ...] = ()
    for site in facts.sites:
        series = facts.series[f"metered.daily/site/{site}"]
        values = [v or Fraction(0) for v in series.values]
        best = max(values, default=Fraction(0))
        if best and (not points or len(series.points) == len(points)):
            points = series.points
            names.append(site)
            rows.append(tuple(100 * v / best for v in values))
    if not rows or not 1 < len(points) <= _CALENDAR_MOST:
        return []
    title = say("Device time metered each day, against the site's best day")
    return [Heat(title, "%", tuple(names), points, tuple(rows), Fraction(100))]


def _missed(facts: Facts, say: Say) -> list[Block]:
    rows = []
    for site in facts.sites:
        figure = facts.figures[f"coverage/site/{site}"]
        share = wording.percent(figure.value) if figure.value is not None else say(figure.reason or "")
        rows.append((site, share, figure.dims["devices_missed"], figure.dims["unlisted"]))
    columns = (say("Site"), say("coverage"), say("devices not seen all the time"), say("devices in no inventory"))
    blocks: list[Block] = [Table(say("Coverage"), columns, tuple(rows))]
    missed = facts.by_prefix("missed/")[:10]
    if missed:
        named = tuple((f.dims["site"], f.dims["node"], _device(f, say), wording.duration(f.value or 0)) for f in missed)
        blocks.append(Table(say("Least seen"), (say("Site"), say("Node"), say("Device"), say("not metered")), named))
    return blocks


def _device(missed: Figure, say: Say) -> str:
    """A device by its name; where a whole node was never seen, all that it has."""
    node, device = missed.dims["node"], missed.dims["device"]
    return say("every device of {node}", node=node) if device == f"every device of {node}" else device


def _methods(facts: Facts, say: Say) -> list[Block]:
    found = facts.by_prefix("quality.method/")
    names = {
        "counter": say("counter"),
        "integrated": say("integrated power"),
        "bridged": say("bridged by the counter"),
        "modelled": say("modelled"),
    }
    text = ", ".join(f"{names[f.dims['method']]} {wording.percent(f.value or 0)}" for f in found)
    blocks: list[Block] = [Note(say("Measured by: {methods}.", methods=text or say("nothing")))]
    imported = facts.figures["quality.imported"].value
    if imported:
        text = "{share} of it was not counted by agents but imported from a Prometheus, at the quality of its scrapes."
        blocks.append(Note(say(text, share=wording.percent(imported))))
    return blocks


def _budget(facts: Facts, say: Say) -> Table:
    """Systematic and random parts apart: they do not shrink alike."""
    total = facts.figures["energy.gpu"].value or 0
    labels = (
        ("systematic", "gain of the sensors: the same all the time, adds up over boards"),
        ("edges", "edges of intervals: cancel within a stretch"),
        ("unseen", "what no sensor saw: raises the upper bound alone"),
    )
    rows = []
    for name, label in labels:
        figure = facts.figures[f"uncertainty/{name}"]
        if figure.value is None:
            rows.append((say(label), say(figure.reason or ""), ""))
        else:
            share = f"{quotient_text(100 * figure.value / total, 'up', 2)} %" if total else "\u2013"
            rows.append((say(label), wording.energy(figure.value), share))
    return Table(say("Uncertainty of the GPUs' energy"), (say("Part"), say("bound"), say("of the total")), tuple(rows))


def _checks(facts: Facts, say: Say) -> list[Block]:
    """The ledger against what else measured the same."""
    rows = []
    for figure in (facts.figures["crosscheck.prometheus"], *facts.of("crosscheck.it", "site")):
        what = say("GPUs in Prometheus over the ledger") if "site" not in figure.dims else figure.dims["site"]
        if "site" in figure.dims:
            what = say("nodes over metered IT, {site}", site=what)
        if figure.value is None:
            rows.append((what, "\u2013", say(figure.reason or "")))
        else:
            rows.append((what, wording.percent(figure.value, 4), wording.span(figure, say) if figure.low is not None else ""))
    return [Table(say("Cross-checks"), (say("What"), say("ratio"), say("bounds, or why there is none")), tuple(rows))]


def _gaps(facts: Facts, say: Say) -> list[Block]:
    """What went unseen: gaps that have a bound, and those that have none."""
    gaps = facts.by_prefix("gap/")
    if not gaps:
        return [Note(say("No gaps: no energy went unseen while a device was in the ledger."))]
    bounded, unbounded = [f for f in gaps if f.high is not None], [f for f in gaps if f.high is None]
    found: list[Block] = []
    if bounded:
        bound = quotient_text(sum((f.high or Fraction(0) for f in bounded), Fraction(0)), "up")
        text = (
            "Gaps of {time} of device time in sum on {devices} devices ({reasons}): at most {energy} went "
            "unseen. It is in no sum, and in "
            "the upper bound of what it may belong to."
        )
        found.append(Note(say(text, **_of_gaps(bounded, say), energy=wording.energy(bound))))
    if unbounded:
        text = (
            "Gaps of {time} of device time in sum on {devices} devices ({reasons}): nothing bounds what they drew then. "
            "It is in no sum, and what it may belong to has no upper bound."
        )
        found.append(Note(say(text, **_of_gaps(unbounded, say))))
    return found


def _imputed(facts: Facts, say: Say) -> list[Block]:
    """What the building's meters did not read, of which the sum has an estimate."""
    text = (
        "Meters of {site}'s building were not read all the time: of its {energy}, {imputed} are put in at the mean power of "
        "the same meters. Its bounds have in them that nothing flowed then, or the most that can."
    )
    found: list[Block] = []
    for figure in facts.of("energy.facility", "site"):
        if figure.value is not None and "imputed_j" in figure.dims:
            total, imputed = wording.energy(figure.value), wording.energy(figure.dims["imputed_j"])
            found.append(Note(say(text, site=figure.dims["site"], energy=total, imputed=imputed)))
    return found


def _of_gaps(gaps: list[Figure], say: Say) -> dict[str, object]:
    seconds = str(sum((Fraction(f.dims["seconds"]) for f in gaps), Fraction(0)))
    reasons = {f.dims["reason"].removeprefix(UNBOUNDED).replace("_", " ") for f in gaps}
    return {
        "time": wording.duration(seconds),
        "devices": sum(int(f.dims["devices"]) for f in gaps),
        "reasons": ", ".join(sorted({say(reason) for reason in reasons})),
    }


SPEC = Section("Data quality", 70, build, wide=True)
