"""Metrics of a fleet's nodes and sites at any time, from one captured response each; every series has a known formula.

Each node has its own names and an activity s(t) around 1, with the integral S(t) since the fleet's start: a counter is at base
+ rate * S(t), with the rate of the captured response, and watts are the rate of their joules times s(t). So one factor scales
all energy of a node: its parts sum to the whole as in the captured response, its joules per token are constant, and its power
is the rate of its energy. A site's activity is the mean of its nodes', and its meters read their power.
"""

import hashlib
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.fleet_capture import Capture
from benchmarks.fleet_template import Key, Labels, Template, Vector, template

NODES_A_JOB = 8  # over which a training job goes
TEAMS = 12
MODELS = ("Qwen/Qwen3-32B", "meta-llama/Llama-3.3-70B-Instruct", "mistralai/Mistral-Small-3.2-24B", "google/gemma-3-27b-it")
SWING, PERIOD_S = 0.2, 900.0
PUE_WINDOWS = ("15m", "1h", "24h", "30d", "365d")


@dataclass(frozen=True, slots=True)
class Activity:
    """s(t) = level * (1 + SWING sin(2 pi t / PERIOD_S + phase)) of a node, or the mean of several."""

    levels: Vector
    phases: Vector
    start_s: float

    def at(self, t_s: Vector) -> Vector:
        """Its value at each time."""
        angles = 2 * math.pi / PERIOD_S * (t_s[:, None] - self.start_s) + self.phases
        values: Vector = (self.levels * (1 + SWING * np.sin(angles))).mean(axis=1)
        return values

    def total(self, t_s: Vector) -> Vector:
        """Its integral since the start, s."""
        elapsed = t_s[:, None] - self.start_s
        turns = 2 * math.pi / PERIOD_S
        waves = (np.cos(self.phases) - np.cos(turns * elapsed + self.phases)) / turns
        integrals: Vector = (self.levels * (elapsed + SWING * waves)).mean(axis=1)
        return integrals


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """A node or a site: the labels that its scrape adds, and its metrics."""

    name: str
    job: str
    more: Labels
    template: Template
    keys: tuple[Key, ...]
    activity: Activity

    def values(self, times_s: Sequence[float]) -> NDArray[np.float64]:
        """Of each time a row, of each series a column."""
        t_s = np.array(times_s, dtype=np.float64)
        return self.template.values(self.activity.at(t_s), self.activity.total(t_s), t_s)

    def page_format(self) -> str:
        """The response text with a placeholder for each value."""
        parts = []
        for line in self.template.lines:
            if isinstance(line, str):
                parts.append(line.replace("%", "%%"))
                continue
            name, labels = self.keys[line]
            text = ",".join(f'{k}="{v}"' for k, v in labels).replace("%", "%%")
            place = "%d" if self.template.digits[line] == 0 else "%.6f"
            parts.append(f"{name}{{{text}}} {place}" if text else f"{name} {place}")
        return "\n".join(parts) + "\n"


@dataclass(frozen=True)
class ScrapedFleet:
    """A number of nodes at a number of sites; counters start to increase at `start_s`, UTC."""

    capture: Capture
    nodes: int
    sites: int
    start_s: float
    seed: int = field(default=1)

    @cached_property
    def node_template(self) -> Template:
        """Template of an agent's response."""
        return template(self.capture.node)

    @cached_property
    def site_template(self) -> Template:
        """Template of a site's response after a year of operation: every window has its PUE."""
        return _aged(template(self.capture.site))

    @cached_property
    def targets(self) -> tuple[ScrapeTarget, ...]:
        """All nodes, then all sites."""
        draw = random.Random(self.seed)
        levels = np.array([draw.uniform(0.75, 1.1) for _ in range(self.nodes)])
        phases = np.array([draw.uniform(0, 2 * math.pi) for _ in range(self.nodes)])
        targets = []
        for n in range(self.nodes):
            activity = Activity(levels[n : n + 1], phases[n : n + 1], self.start_s)
            place = (("site", f"site-{n % self.sites}"),)
            keys = tuple(_renamed(self.node_template.keys, _node_names(n)))
            targets.append(ScrapeTarget(f"gpu-{n:04d}", "wattlens", place, self.node_template, keys, activity))
        drawn_w = _sum(self.node_template, "wattlens_node_power_watts", source="redfish")
        metered_w = _sum(self.site_template, "wattlens_facility_power_watts", position_of="it-")
        for k in range(self.sites):
            chosen = slice(k, None, self.sites)
            activity = Activity(levels[chosen], phases[chosen], self.start_s)
            made = _scaled(self.site_template, drawn_w * len(levels[chosen]) / metered_w)
            keys = tuple(_renamed(made.keys, _site_names(k)))
            targets.append(ScrapeTarget(f"site-{k}", "wattlens-site", (), made, keys, activity))
        return tuple(targets)

    def power_w(self, at_s: Mapping[str, float]) -> float:
        """Power of the GPUs of these nodes, each at its time."""
        watts = _sum(self.node_template, "wattlens_gpu_power_instant_watts")
        nodes = self.targets[: self.nodes]
        return sum(watts * float(t.activity.at(np.array([at_s[t.name]]))[0]) for t in nodes if t.name in at_s)

    def joules_per_token(self) -> dict[str, float]:
        """Joules per generated token by model, including idle GPUs of the engines; the same on every node at any time."""
        page = self.node_template
        ratios: dict[str, float] = {}
        for name, labels in page.keys:
            if name == "wattlens_requests_total":
                of = dict(labels)
                joules = _sum(page, "wattlens_workload_energy_joules_total", rate=True, workload=of["workload"])
                ratio = joules / _sum(page, "wattlens_tokens_total", rate=True, phase="generation", workload=of["workload"])
                models = MODELS[: self.nodes] if of["model"] == MODELS[0] else (of["model"],)
                ratios |= dict.fromkeys(models, ratio)
        return ratios


def _sum(of: Template, name: str, *, rate: bool = False, position_of: str = "", **labels: str) -> float:
    """Of the watts (or rates) of all series with these labels, or of meters whose name begins so."""
    column = of.rate if rate else of.watts
    chosen = [
        i
        for i, (other, have) in enumerate(of.keys)
        if other == name and labels.items() <= dict(have).items() and dict(have).get("meter", "").startswith(position_of)
    ]
    return float(column[chosen].sum())


def _aged(page: Template) -> Template:
    kept: list[tuple[Key, int]] = []
    lines: list[str | int] = []
    for line in page.lines:
        if isinstance(line, str):
            lines.append(line)
            continue
        name, labels = page.keys[line]
        if name == "wattlens_pue_absent_info":
            continue
        for window in PUE_WINDOWS if dict(labels).get("window") == "15m" else (None,):
            here = tuple((k, window if k == "window" and window else v) for k, v in labels)
            lines.append(len(kept))
            kept.append(((name, here), line))
    index = [i for _, i in kept]
    columns = (page.base[index], page.rate[index], page.watts[index], page.wobble[index], page.clock[index])
    return Template(tuple(lines), tuple(key for key, _ in kept), *columns, tuple(page.digits[i] for i in index))


def _scaled(page: Template, factor: float) -> Template:
    """Meters of a larger site."""
    metered = [name.startswith("wattlens_facility_") and "ratio" not in name for name, _ in page.keys]
    factors = np.where(metered, factor, 1.0)
    return replace(page, base=page.base * factors, rate=page.rate * factors, watts=page.watts * factors)


def _renamed(keys: Sequence[Key], names: Callable[[str, str], str]) -> Iterator[Key]:
    return ((name, tuple((k, names(k, v)) for k, v in labels)) for name, labels in keys)


def _node_names(n: int) -> Callable[[str, str], str]:
    """The labels of node n."""
    job, rank = divmod(n, NODES_A_JOB)
    pods = {"train-0": f"train-{job}-{rank}", "chat-0": f"chat-{n}", "assist-0": f"assist-{n}", "notebook-ana": f"notebook-{n}"}
    labels = {
        ("owner", "Job/train"): f"Job/train-{job}", ("owner", "StatefulSet/chat"): f"StatefulSet/chat-{n % 40}",
        ("team", "foundation"): f"foundation-{n % 3}", ("team", "chat"): f"chat-{n % TEAMS}",
        ("group", "train"): f"train-{job}", ("group", "chat"): f"chat-{n}", ("model", MODELS[0]): MODELS[n % len(MODELS)],
    }  # fmt: skip
    runs = {"train": job, "chat": n}

    @cache
    def rename_label(name: str, value: str) -> str:
        if value.startswith("GPU-"):
            hexed = hashlib.blake2b(f"{n}/{value}".encode(), digest_size=16).hexdigest()
            return f"GPU-{hexed[:8]}-{hexed[8:12]}-{hexed[12:16]}-{hexed[16:20]}-{hexed[20:]}"
        if name == "node":
            return f"gpu-{n:04d}"
        if name == "run" and (group := value.rpartition(":")[2]) in runs:
            return f"{value}-{runs[group]}"
        if (name, value) in labels:
            return labels[name, value]
        for pod in [pod for pod in pods if pod in value]:
            value = value.replace(pod, pods[pod])
            tail = value.rpartition(".")[2]
            if re.fullmatch(r"[0-9a-f]{8}", tail):  # the part of the pod's uid that distinguishes its instances
                value = value[:-8] + hashlib.blake2b(f"{n}/{tail}".encode(), digest_size=4).hexdigest()
        return value

    return rename_label


def _site_names(k: int) -> Callable[[str, str], str]:
    return lambda name, value: f"site-{k}" if name in ("site", "node") else value
