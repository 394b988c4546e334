"""Random small fleets for the oracle: everything that a ledger may hold, in three UTC days around a quarter's end.

Two clusters name nodes and workloads alike; workloads change hands at any time, some are on several nodes; devices are shared;
hosts and parts of hosts are on some nodes; energies are 0, small, or so large that two of them pass int64.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from random import Random

from energy_agent.core.boundary import UNBOUNDED, host, part
from energy_agent.core.energy import Action, Entry, Gap, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from tests.reports.chains import CELL, DAY, S, write

FIRST = int(datetime(2026, 9, 29, tzinfo=UTC).timestamp()) * S
DAYS = 4
NODES = (("east", "n1"), ("west", "n1"), ("east", "n2"))
SITE_OF = {("east", "n1"): "north", ("west", "n1"): "south", ("east", "n2"): "south"}
Event = Entry | Gap | Tokens | Steps | Action


@dataclass
class Fleet:
    """What was written: the segments of each node."""

    segments: dict[tuple[str, str], list[Path]] = field(default_factory=dict)
    orderly: bool = True


def fleet(random: Random, folder: Path, *, orderly: bool) -> Fleet:
    """Write one."""
    fleet_data = Fleet(orderly=orderly)
    for cluster, node in NODES[: random.randint(1, 3)]:
        batches = _batches(random, cluster, node, orderly=orderly)
        fleet_data.segments[cluster, node] = write(folder, cluster, node, batches)
    return fleet_data


def _batches(random: Random, cluster: str, node: str, *, orderly: bool) -> list[Batch]:
    devices = [f"GPU-{cluster}-{node}-{n}" for n in range(random.randint(1, 2))]
    if random.random() < 0.5:
        devices.append(host(cluster, node))
    if random.random() < 0.3:
        devices.append(part(host(cluster, node), "package-0"))
    gains = {device: random.choice([0, 0.03, 0.05]) for device in devices}
    device_facts = [DeviceFacts(device, random.choice(["H100", "A100"]), gain, FIRST - DAY) for device, gain in gains.items()]
    if random.random() < 0.15:
        device_facts.pop()  # a device of which nobody says how far its sensor is off
    events: list[list[Event]] = []  # shares of one interval are recorded together
    for device in devices:
        events += _stretches(random, device)
    for _ in range(random.randint(0, 4)):
        events.append([_gap(random, random.choice(devices))])
    for _ in range(random.randint(0, 5)):
        start, end = _when(random)
        served = random.choice(["m1", "m1", "m2"])
        phase = random.choice(["generation", "generation", "prompt"])
        events.append([Tokens(start, end, random.choice(["w1", "w2"]), served, phase, random.choice([0, 7, 10**6]))])
    for _ in range(random.randint(0, 2)):
        start, end = _when(random)
        events.append([Steps(start, end, random.choice(["w1", "w3"]), random.choice(["training", "evaluation"]), 10)])
    if random.random() < 0.5:
        events.append([Action(_when(random)[0], devices[0], "static", "set", "{}", "ok", "w1")])
    events.sort(key=lambda event: _time(event[0]))
    facts = [
        WorkloadFacts(f"w{n}", FIRST - DAY + random.randint(0, DAYS) * DAY + random.randint(0, 95) * CELL + 1, kind, labels)
        for n in (1, 2, 3)
        for kind, labels in [_labels(random) for _ in range(random.randint(0, 3))]
    ]
    cuts = sorted({0, len(events), *(random.randint(0, len(events)) for _ in range(random.randint(0, 6)))})
    parts = [_whole(events[a:b]) for a, b in pairwise(cuts)]
    return [Batch(facts=facts, devices=device_facts), *parts]


def _whole(events: list[list[Event]]) -> Batch:
    def of(kind: type) -> list:
        return [event for together in events for event in together if isinstance(event, kind)]

    return Batch(of(Entry), of(Gap), of(Tokens), of(Action), steps=of(Steps))


def _labels(random: Random) -> tuple[str, dict[str, str]]:
    labels = {
        "team": random.choice(["red", "blue", ""]),
        "project": random.choice(["p", ""]),
        "model": random.choice(["m3", ""]),
        "precision": random.choice(["fp8", ""]),
        "class": random.choice(["spot", ""]),
    }
    return random.choice(["pod", "slurm"]), {key: value for key, value in labels.items() if value}


def _when(random: Random) -> tuple[int, int]:
    start = FIRST + random.randint(0, DAYS * 96 - 8) * CELL + random.choice([0, 0, 1, 60 * S, 450 * S])
    return start, start + random.choice([CELL, 60 * S, 3 * CELL + 7, 7 * S])


def _time(event: Event) -> int:
    return event.t_ns if isinstance(event, Action) else event.start_ns


def _gap(random: Random, device: str) -> Gap:
    start, end = _when(random)
    if random.random() < 0.3:
        return Gap(device, start, end, 0, f"{UNBOUNDED}no readings")
    return Gap(device, start, end, random.choice([0, 10, 10**9]), random.choice(["lost", "reboot"]))


def _stretches(random: Random, device: str) -> list[list[Event]]:
    """A device's time: some runs of metering with holes between; the first of them often around a UTC midnight."""
    intervals: list[list[Event]] = []
    at = FIRST + random.randint(0, 40) * CELL
    for _ in range(random.randint(1, 7)):
        if random.random() < 0.5:
            at += random.randint(1, 60) * CELL + random.choice([0, 3 * S])
        if random.random() < 0.2:
            at = max(at, FIRST + random.randint(1, 3) * DAY - CELL)
        end = at + random.choice([CELL, 600 * S, 60 * S, 2 * CELL + 1, 7 * CELL])
        if end > FIRST + DAYS * DAY:
            break
        intervals.append(_interval(random, device, at, end))
        at = end
    return intervals


def _interval(random: Random, device: str, start: int, end: int) -> list[Event]:
    energy = random.choice([0, 1, 10**6, random.randint(0, end - start)])  # at most 1 kW: 1 uJ per ns
    edge = random.choice([0, 10, 10, 700])
    method = random.choice([Method.COUNTER, Method.COUNTER, Method.COUNTER, Method.INTEGRATED, Method.BRIDGED])
    if random.random() < 0.25:
        state = random.choice([State.UNALLOCATED, State.UNALLOCATED, State.GAP, State.UNKNOWN_OWNER, State.STARTING])
        return [Entry(start, end, device, "", state, method, energy, edge)]
    first, state = random.choice(["w1", "w2", "w3"]), random.choice([State.ACTIVE, State.ACTIVE, State.IDLE])
    if random.random() < 0.2:  # two share it
        second = random.choice([w for w in ("w1", "w2", "w3") if w != first])
        mine = energy // 3
        return [
            Entry(start, end, device, first, state, method, mine, edge // 3, (end - start) // 3),
            Entry(start, end, device, second, state, method, energy - mine, edge - edge // 3, (end - start) // 3),
        ]
    return [Entry(start, end, device, first, state, method, energy, edge, end - start)]
