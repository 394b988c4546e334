"""Description of an inference server: the names and behaviour of its counters. Data only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

COUNTS = ("prompt", "cached", "computed", "generation", "requests", "steps", "drafts", "accepted", "aborted")
"""Whole counters that only rise while an engine lives."""
GAUGES = ("running", "waiting")
LATENCIES = ("ttft", "itl", "tpot")
"""Histograms of times."""
LENGTHS = ("prompt_per_request", "computed_per_request", "generation_per_request")
"""Histograms of tokens per request."""
HISTOGRAMS = (*LATENCIES, *LENGTHS)
FIELDS = (*COUNTS, *GAUGES, *HISTOGRAMS)

Unit = Literal["s", "ms"]
Moves = Literal["step", "request"]


@dataclass(frozen=True, slots=True)
class Name:
    """One name that a value has on the page, in the versions that use it.

    Args:
        name: of the sample, with its `_total`, `_sum` or `_count`; of a histogram without suffix.
        versions: which ones use it, in words.
        where: labels that a series must carry, each with one of these values.
        unit: of a histogram of latencies.
    """

    name: str
    versions: str = ""
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unit: Unit = "s"

    def __str__(self) -> str:
        """As one writes it in PromQL."""
        labels = ",".join(
            f'{label}="{values[0]}"' if len(values) == 1 else f'{label}=~"{"|".join(values)}"'
            for label, values in self.where.items()
        )
        return f"{self.name}{{{labels}}}" if labels else self.name


Names = tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class TokenServer:
    """One kind of server. For each value the first name that the metrics endpoint has is read; empty tuple: not available.

    Args:
        summary: what it is, in a few words.
        checked: against what the names were checked: a version, and whether a page of it or its source was read.
        moves: whether token counters move with the engine's steps, or when a request ends.
        model_label: names the model; empty: the page does not, the configuration may.
        engine_labels: distinguish engines that count separately.
        copies: labels that distinguish ranks which count the same work again: of them the lowest rank is read.
        exact_sums: whether sums of histograms are those of the observations.
        note: what one has to know or switch on.
        prompt, cached, computed, generation, requests, steps, running, waiting, ttft, itl: names, as of `TokenDelta`.
        drafts, accepted: draft tokens of speculative decoding, and those of them that the model accepted.
        aborted: requests that ended without being finished.
        tpot: the mean time per output token of each request that ended, which limits on the time between tokens are about.
        prompt_per_request, computed_per_request, generation_per_request: as of `TokenDelta`.
        started: a gauge with the UTC s at which an engine's counters began.
    """

    summary: str
    checked: str
    moves: Moves
    model_label: str = ""
    engine_labels: tuple[str, ...] = ()
    copies: tuple[str, ...] = ()
    exact_sums: bool = True
    note: str = ""
    prompt: Names = ()
    cached: Names = ()
    computed: Names = ()
    generation: Names = ()
    requests: Names = ()
    steps: Names = ()
    drafts: Names = ()
    accepted: Names = ()
    aborted: Names = ()
    running: Names = ()
    waiting: Names = ()
    ttft: Names = ()
    itl: Names = ()
    tpot: Names = ()
    prompt_per_request: Names = ()
    computed_per_request: Names = ()
    generation_per_request: Names = ()
    started: Names = ()

    def names(self) -> Iterator[tuple[str, int, Name]]:
        """Every name with the value it is for, and its place among that value's names."""
        for value in (*FIELDS, "started"):
            for place, name in enumerate(getattr(self, value)):
                yield value, place, name
