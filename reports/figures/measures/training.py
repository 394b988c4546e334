"""Energy of training runs: what the AI Act's Annex XI asks for, in MWh with at least two significant digits.

A run is what shares a project and a model among the workloads that did training steps, or are of a job or group that did; its
energy is all that they held.
"""

from collections.abc import Iterator

from reports.figures.evidence import PeriodEvidence, reach
from reports.figures.figure import Figure
from reports.figures.measures._measure import FigureSubject, Measure, model_of, project_of
from reports.figures.measures.carbon import workload_dims
from reports.figures.measures.energy import methods
from reports.ledger.sums import PartEnergy


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Of every run, at every boundary that is known."""
    who = evidence.sums.parts
    steps: dict[int, int] = {}
    for row in evidence.sums.steps:
        if row.phase == "training":
            steps[row.part] = steps.get(row.part, 0) + row.steps
    runs: dict[str, tuple[str, str, list[PartEnergy]]] = {}
    for energy_row in evidence.sums.part_rows:
        part = who[energy_row.part]
        if part.trains and energy_row.device_class != "part":
            project, model = project_of(part) or part.team, model_of(part)
            name = ", ".join(x for x in (project, model) if x) or "not named"
            runs.setdefault(name, (project, model, []))[2].append(energy_row)
    for name, (project, model, rows) in sorted(runs.items()):
        reached = reach(evidence, rows)
        done = sum(steps.get(part, 0) for part in {r.part for r in rows})
        run = FigureSubject(f"/run/{name}", {"run": name, "project": project, "model": model, "steps": str(done)})
        how = methods(evidence, "gpu")
        yield run.energy("training.energy", reached.gpu, how)
        yield run.figure("training.energy.node", reached.node, "J", how, "node")
        of = workload_dims(evidence, {r.site for r in rows})
        yield run.figure("training.energy.facility", reached.facility, "J", "node energy times PUE", "facility", of)


SPEC = Measure("energy of training runs", figures)
