"""The request of an import."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import wattlens
from energy_agent.core.energy import Identity
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.history_import.segments import MARK

ORIGIN: Final = "dcgm"
"""Exporter whose series are imported."""


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """The import request.

    Args:
        start_ns, end_ns: UTC ns, edges of cells.
        now_ns: the import requests no data after this time.
        cluster: cluster of the segments; None: a name that no agent's segments have.
        node_label: label that names the node; None: the label that the exporter's versions use.
        nodes: import only these nodes; empty: all.
        match: labels that every series must have.
        slice_ns: length of time that one request covers and memory holds.
        dedup_label: label that distinguishes replicas of one Prometheus.
        gain_ppm: systematic error of a GPU's counter, if no series gives it.
        power_max_mw: maximum power of every GPU, if neither a series nor its model gives it.
        age_ns: maximum age of a reading when it is scraped; None: the exporter's default.
    """

    start_ns: int
    end_ns: int
    now_ns: int
    cluster: str | None = None
    node_label: str | None = None
    nodes: tuple[str, ...] = ()
    match: Mapping[str, str] = field(default_factory=dict)
    slice_ns: int = 6 * 3600 * NS_PER_S
    dedup_label: str = "replica"
    gain_ppm: int = 50_000
    power_max_mw: int | None = None
    age_ns: int | None = None

    @property
    def reach(self) -> tuple[int, int]:
        """Time range to query: one slice more on both sides, so that intervals across an edge are known and cut there."""
        return self.start_ns - self.slice_ns, min(self.end_ns + self.slice_ns, max(self.now_ns, self.end_ns))

    def windows(self) -> list[tuple[int, int]]:
        """The slices, in order of time."""
        first, last = self.reach
        return [(at, min(at + self.slice_ns, last)) for at in range(first, last, self.slice_ns)]


def node_name(text: str) -> str:
    """A node's name as segments have it; of an instance without its port."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", re.sub(r":\d{1,5}$", "", text)).strip("-.")[:63] or "node"


def identity(cluster: str, node: str) -> Identity:
    """Who wrote imported segments."""
    return Identity(cluster, node, MARK + ORIGIN, wattlens.__version__, simulated=False)
