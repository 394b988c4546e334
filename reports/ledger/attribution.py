"""Assigns workloads to parts of the fleet, by their labels, the models they served and the organisation's rules.

Facts are effective-dated: a workload's joules of a UTC day belong to whom its last facts of that day name. One of which a day
says nothing keeps what the day before said.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from energy_agent.core.errors import ChainError
from energy_agent.core.text import printable
from energy_agent.core.workloads.job_identity import job_address, run_of
from reports.inputs.organisation import team_of
from reports.inputs.records import ModelName, TeamRule
from reports.ledger.store import NAME_MAX, DayDatabase
from reports.ledger.sums import NOBODY, PartLabels

Name = tuple[str, str, str]
"""Cluster, node and workload: what joules, tokens and steps share."""

_FACTS = """
SELECT day_ns, cluster, node, workload, arg_max(kind, place) AS kind, arg_max(labels, place) AS labels
FROM (
  SELECT f.day_ns, p.cluster, p.node, p.workload, p.workload_kind AS kind, p.labels,
         CASE WHEN p.since_ns < least(f.to_ns, f.day_ns + 86400000000000) THEN CAST(p.since_ns AS DECIMAL(38, 0)) * 1000000000
              ELSE CAST(-p.since_ns AS DECIMAL(38, 0)) * 1000000000 END + p.sequence AS place
  FROM all_workload AS p JOIN file AS f ON f.path = p.filename WHERE p.workload NOT LIKE 'meter:%'
) AS fact
GROUP BY day_ns, cluster, node, workload
ORDER BY cluster, node, workload, day_ns
"""  # the last labels before the day's end, else the first after it; the last of duplicates
_USED = """
SELECT DISTINCT day_ns, cluster, node, workload FROM (
  SELECT day_ns, cluster, node, workload FROM holder_piece
  UNION ALL SELECT day_ns, cluster, node, workload FROM token_day
  UNION ALL SELECT day_ns, cluster, node, workload FROM steps_in
) AS every_row WHERE workload <> '' ORDER BY cluster, node, workload, day_ns
"""
MODELS: Final = "SELECT DISTINCT cluster, node, workload, model FROM token_day WHERE phase = 'generation' ORDER BY 1, 2, 3, 4"
"""Which models each workload generated tokens with."""
_SERVED: Final = """
SELECT cluster, node, workload, model, max(CASE WHEN phase = 'generation' THEN 1 ELSE 0 END) AS generates FROM token_day
WHERE phase IN ('generation', 'request') GROUP BY cluster, node, workload, model ORDER BY 1, 2, 3, 4
"""
"""Which models each workload generated tokens with, or only finished requests of (embedding, reranking)."""
_TRAINED = """
SELECT DISTINCT s.cluster, s.workload, p.workload_kind, p.labels
FROM (SELECT DISTINCT cluster, node, workload FROM steps_in WHERE phase = 'training' AND steps > 0) AS s
LEFT JOIN (SELECT DISTINCT cluster, node, workload, workload_kind, labels FROM all_workload) AS p
  ON p.cluster = s.cluster AND p.node = s.node AND p.workload = s.workload
ORDER BY 1, 2, 3, 4
"""
WHO_COLUMNS: Final = {
    "day_ns": "BIGINT", "cluster": "VARCHAR", "node": "VARCHAR", "workload": "VARCHAR", "part": "INTEGER",
    "holder": "INTEGER", "name": "INTEGER",
}  # fmt: skip
"""Of the table `who`."""


@dataclass(slots=True)
class PartRegistry:
    """Parts by number, and the printed name of each workload."""

    parts: dict[int, PartLabels] = field(default_factory=lambda: {NOBODY: PartLabels()})
    names: dict[Name, str] = field(default_factory=dict)
    called: list[str] = field(default_factory=list)  # by the number of a name
    _numbers: dict[PartLabels, int] = field(default_factory=dict)

    def number(self, who: PartLabels) -> int:
        """The number of a part; a new one where it is not known yet."""
        known_number = self._numbers.get(who)
        if known_number is None:
            known_number = self._numbers[who] = len(self.parts)
            self.parts[known_number] = who
        return known_number


def register_parts(store: DayDatabase, rules: Sequence[TeamRule], models: Mapping[str, ModelName]) -> PartRegistry:
    """Make the store's table `who`: the part of every workload on every day that it used anything, and its number."""
    whose = PartRegistry()
    store.sum_by_day()
    generating, other = dict[Name, list[str]](), dict[Name, list[str]]()
    for cluster, node, workload, model, generates in store.rows(_SERVED):
        (generating if generates else other).setdefault((cluster, node, workload), []).append(model)
    served = other | generating
    trained = _trained(store)
    rows: list[tuple[int, Name, int, int]] = []
    holder, part = 0, NOBODY
    for day_ns, name, kind, text, is_new, changed in labels_by_day(store):
        holder += is_new
        if changed:
            labels = parse_labels(text, name)
            trains = bool(trained & {(name[0], "", name[2]), (name[0], "run", run_of(kind, labels))})
            part = whose.number(replace(_who(kind, labels, name[2], served.get(name, []), rules, models), trains=trains))
            if labels or name not in whose.names:
                whose.names[name] = job_or_workload(name[2], kind, labels)
        rows.append((day_ns, name, part, holder))
    numbers = {called: number for number, called in enumerate(dict.fromkeys(whose.names.values()))}
    whose.called = list(numbers)
    who = ((day_ns, *name, part, holder, numbers[whose.names[name]]) for day_ns, name, part, holder in rows)
    store.table("who", WHO_COLUMNS, who)
    return whose


def labels_by_day(store: DayDatabase) -> Iterator[tuple[int, Name, str, str, bool, bool]]:
    """Kind and labels (JSON) of each workload on each UTC day of use, by workload and day.

    Yields:
        (day, workload, kind, labels, whether the workload is another than before, whether anything of it changed).
    """
    facts = store.stream(_FACTS)
    name: Name | None = None
    kind, labels, changed = "", "{}", True
    ahead = next(facts, None)
    for day_ns, *of in store.stream(_USED):
        is_new = name is None or of != list(name)
        if is_new:
            name = (of[0], of[1], of[2])
            kind, labels, changed = "", "{}", True
        assert name is not None
        while ahead is not None and (ahead[1:4], ahead[0]) <= (name, day_ns):
            if ahead[1:4] == name and (kind, labels) != ahead[4:6]:
                kind, labels, changed = ahead[4], ahead[5], True
            ahead = next(facts, None)
        yield day_ns, name, kind, labels, is_new, changed
        changed = False


def _trained(store: DayDatabase) -> set[Name]:
    """Workloads of any node that did training steps (one rank reports those of all), and the jobs that they are part of."""
    trained: set[Name] = set()
    for cluster, workload, kind, text in store.rows(_TRAINED):
        trained.add((cluster, "", workload))
        if run := run_of(kind, parse_labels(text, (cluster, "", workload))) if text else "":
            trained.add((cluster, "run", run))
    return trained


def parse_labels(text: str, name: Name) -> dict[str, str]:
    """Labels from their JSON. Raises ChainError: not what an agent writes."""
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError):
        labels = None
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise ChainError(f"workload {name[2]} on {name[0]}/{name[1]}: its labels are not in the form that an agent writes")
    return {key: printable(value[:NAME_MAX]) for key, value in labels.items()}


def display_name(workload: str, labels: Mapping[str, str]) -> str:
    """A workload's name for people: namespace/pod where there is one, else the name in its labels, else its identity."""
    pod = "/".join(labels[k] for k in ("namespace", "pod") if labels.get(k))
    return pod or labels.get("name") or printable(workload[:NAME_MAX])


def job_or_workload(workload: str, kind: str, labels: Mapping[str, str]) -> str:
    """The name that a report lists a workload under: its job, so that all nodes and pods of one are one, else its own name."""
    return (labels.get("owner") and job_address(kind, labels)) or display_name(workload, labels)


def _who(
    kind: str,
    labels: Mapping[str, str],
    workload: str,
    served: Sequence[str],
    rules: Sequence[TeamRule],
    models: Mapping[str, ModelName],
) -> PartLabels:
    team, project, price_class = team_of(labels, kind, workload, rules)
    model = served[0] if len(served) == 1 else labels.get("model", "") if not served else ""
    model_info = models.get(model)
    precision = labels.get("precision", "") or (model_info.precision if model_info else "")
    return PartLabels(
        team,
        project,
        model_info.display if model_info and model_info.display else model,
        precision,
        kind,
        price_class,
        len(served) > 1,
    )
