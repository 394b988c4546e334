"""The tokens of a window, by a program or a server's counters, and what the window's edges make uncertain of them. Pure.

A server's page is read shortly before the window and shortly after it, and its counters lag behind the work:

- Between a reading of the page and the window's edge, the server counts on. At the start, that count is at most the rise to the
  first reading within the window; at the end, at most the rise from the last reading within it. A histogram of the times
  between tokens gives a second bound: what the batch makes in that time at the histogram's shortest step. The mean step is no
  bound: steps may be much shorter at the ends.
- A counter that moves with the engine's steps lags, at an edge amid work, by the tokens of the last two steps (an engine that
  schedules ahead publishes a step later), and by two more prompts, as a prompt is counted once it is complete.
- A counter that moves when a request ends lags by the tokens of the running requests: at most the mean request times how many
  run.

At an edge where no request runs, nothing lags.

The interval of energy per token combines the errors of energy and tokens. The sensor's gain and the lag of tokens are bounds:
they add, as distances on the logarithm. The edges of energy are half-widths of independent errors: those of several windows
add in squares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from threading import Lock

_LAG_STEPS = 2
_LAG_PROMPTS = 2
_NAME = 256  # of a model, by a page that is not trusted
_LOCK = Lock()


@dataclass(frozen=True, slots=True)
class WindowTokens:
    """Tokens of a window. None marks a count that was not reported; without `generation` and `processed`, `reason` is set.

    Args:
        source: "program", or the page's address; of several pages all, with spaces between.
        server: its kind, as of energy_agent/tokens/servers; "" for a program.
        moves: "step" or "request": when the server's counters move; "" for a program.
        models: whose tokens these are.
        generation: tokens generated.
        computed: prompt tokens that were computed.
        cached: those found in a cache; they are in none of the other counts.
        processed: computed and generated, or what a program counted as such.
        requests: requests that ended.
        steps: engine steps.
        running: requests in the batch, mean over the window's time.
        edge_generation, edge_processed: half-widths of what the window's edges add to the counts.
        reason: why the window has no tokens.
    """

    source: str
    server: str = ""
    moves: str = ""
    models: tuple[str, ...] = ()
    generation: int | None = None
    computed: int | None = None
    cached: int | None = None
    processed: int | None = None
    requests: int | None = None
    steps: int | None = None
    running: float | None = None
    edge_generation: float = 0.0
    edge_processed: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CounterInterval:
    """Changes of a metrics endpoint's counters between the reading before the window and the one after it.

    Args:
        models: whose.
        engines: how many count there.
        counts: by field of `TokenDelta`, those that the endpoint reported of all its models at both ends.
        running: requests in the batch at the two ends; None if the endpoint does not report them.
        mean_running: over the interval.
        seconds: its length, from before the first reading to after the last.
        late_s: of that, outside the window.
        edge_counts: generated and computed tokens that were counted up to the first reading within the window and from the last
            one within it; None without such a reading.
        shortest_step_s: no step was shorter; 0 where that is not known.
    """

    models: tuple[str, ...]
    engines: int
    counts: Mapping[str, int]
    running: tuple[int | None, int | None]
    mean_running: float | None
    seconds: float
    late_s: float
    edge_counts: tuple[int, int] | None = None
    shortest_step_s: float = 0.0


def lag(interval: CounterInterval, *, live: bool) -> tuple[float, float] | str:
    """Half-widths of generated and of processed tokens due to the window's edges, or why they are unknown."""
    generation, computed = interval.counts["generation"], interval.counts.get("computed", 0)
    outside = interval.late_s / interval.seconds if interval.seconds > 0 else 1.0
    if interval.running == (0, 0):
        return outside * generation, outside * (generation + computed)
    requests, steps = interval.counts.get("requests", 0), interval.counts.get("steps", 0)
    running = [n for n in interval.running if n is not None]
    if running and interval.mean_running:
        outside *= max(1.0, max(running) / interval.mean_running)
    if not live:
        if len(running) < 2 or not requests:
            return (
                "the server counts tokens when a request ends, so the progress of requests that run at the start or the "
                "end of the window is unknown: open and close the window while no request runs"
            )
        running_share = max(running) / requests
        return (outside + running_share) * generation, (outside + running_share) * (generation + computed)
    if not steps and not running:
        return "the server reports neither engine steps nor running requests, so the delay of its counters is unknown"
    per_step = max([*running, interval.engines * generation / steps if steps else 0.0])
    step = _LAG_STEPS * per_step
    prompt = computed * min(1.0, _LAG_PROMPTS / requests) if requests else float(computed)
    early = _outside_tokens(interval, per_step)
    return early + step, early + step + min(1.0, outside) * computed + prompt


def _outside_tokens(interval: CounterInterval, per_step: float) -> float:
    """Upper bound of the tokens that were counted outside of the window, by counters that move with steps."""
    if interval.late_s <= 0:
        return 0.0
    counted, _ = interval.edge_counts or (interval.counts["generation"], 0)
    if interval.shortest_step_s <= 0 or None in interval.running:
        return float(counted)
    return min(float(counted), per_step * interval.late_s / interval.shortest_step_s)


def window_tokens(intervals: Sequence[CounterInterval], source: str, server: str, moves: str) -> WindowTokens:
    """The sum of all endpoints; a count that one of them lacks has the value None, because the sum is unknown."""
    models = tuple(sorted({model[:_NAME] for s in intervals for model in s.models if model}))
    without = WindowTokens(source, server, moves, models)
    if not intervals or any("generation" not in s.counts for s in intervals):
        return _because(without, "the metrics endpoint does not report generated tokens at both ends of the window")
    lags = [lag(s, live=moves == "step") for s in intervals]
    why = next((each for each in lags if isinstance(each, str)), "")
    if why:
        return _because(without, why)
    edge = [each for each in lags if not isinstance(each, str)]

    def total(field: str) -> int | None:
        counts = [s.counts[field] for s in intervals if field in s.counts]
        return sum(counts) if len(counts) == len(intervals) else None

    generation, computed = total("generation"), total("computed")
    batch = [s.mean_running for s in intervals if s.mean_running is not None]
    return WindowTokens(
        source, server, moves, models,
        generation=generation,
        computed=computed,
        cached=total("cached"),
        processed=generation + computed if generation is not None and computed is not None else None,
        requests=total("requests"),
        steps=total("steps"),
        running=sum(batch) if len(batch) == len(intervals) else None,
        edge_generation=sum(g for g, _ in edge),
        edge_processed=sum(p for _, p in edge),
    )  # fmt: skip


def _because(tokens: WindowTokens, reason: str) -> WindowTokens:
    return WindowTokens(tokens.source, tokens.server, tokens.moves, tokens.models, reason=reason)


class CountedTokens:
    """Tokens that the program reports for a window itself, from any number of threads."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._other: int | None = None
        self._prompt: int | None = None
        self._generation: int | None = None

    @property
    def tokens(self) -> int | None:
        """All of them; None where nothing was counted."""
        counts = [n for n in (self._other, self._prompt, self._generation) if n is not None]
        return sum(counts) if counts else None

    def set(self, tokens: int) -> None:
        """They are `tokens`, whatever was counted before."""
        with _LOCK:
            self._other, self._prompt, self._generation = _count(tokens), None, None

    def add(self, tokens: int | None, prompt: int | None, generation: int | None) -> None:
        """Add to each that is given; all of them or none, where one is wrong."""
        more = [None if n is None else _count(n) for n in (tokens, prompt, generation)]
        with _LOCK:
            old = (self._other, self._prompt, self._generation)
            self._other, self._prompt, self._generation = (
                was if n is None else (was or 0) + n for was, n in zip(old, more, strict=True)
            )

    def as_window_tokens(self) -> WindowTokens | None:
        """As a window's tokens."""
        if self.tokens is None:
            return None
        return WindowTokens("program", generation=self._generation, computed=self._prompt, processed=self.tokens)


def _count(value: object) -> int:
    """A whole number from 0 on, numpy's too.

    Raises:
        TypeError: it is not a whole number.
        ValueError: it is below 0.
    """
    index = getattr(value, "__index__", None)
    if isinstance(value, bool) or index is None:
        raise TypeError(f"measure: token count: expected a whole number, got {value!r}")
    number = int(index())
    if number < 0:
        raise ValueError(f"measure: token count: expected at least 0, got {number}")
    return number


@dataclass(frozen=True, slots=True)
class PerToken:
    """J per token and its interval; all None, with the reason, if it is not available."""

    joules: float | None
    low: float | None
    high: float | None
    reason: str = ""

    def __str__(self) -> str:
        """Four digits and the interval, or why not."""
        if self.joules is None:
            return f"no joules per token: {self.reason}"
        return f"{self.joules:.4g} J/token ({self.low:.4g} to {self.high:.4g})"


def distances(value: float, edge: float) -> tuple[float, float]:
    """How far below and above `value` the edges of value +- edge lie, on the logarithm; infinitely far where 0 is between.

    >>> distances(100.0, 0.0)
    (0.0, 0.0)
    """
    return (log(value / (value - edge)) if edge < value else inf), log((value + edge) / value)


def per_token(joules: float, edge_j: float, gain: float, tokens: int, edge_tokens: float) -> PerToken:
    """J per token.

    Args:
        joules: by the GPUs' own sensors.
        edge_j: half-width of what the window's edges add.
        gain: systematic error of the sensors, as a ratio.
        tokens: how many.
        edge_tokens: half-width of what was not published, or too early, at the edges; 0 for tokens that one counted oneself.
    """
    if tokens <= 0:
        return PerToken(None, None, None, "no tokens were counted in the window")
    if edge_tokens >= tokens:
        return PerToken(None, None, None, f"{tokens} tokens have an uncertainty of {edge_tokens:.0f}: the window is too short")
    if joules <= 0:
        return PerToken(None, None, None, "the sensors reported no energy")
    value = joules / tokens
    (j_down, j_up), (t_down, t_up) = distances(joules, edge_j), distances(tokens, edge_tokens)
    return PerToken(value, value * exp(-j_down - t_up) / (1.0 + gain), value * exp(j_up + t_down) / (1.0 - gain))
