"""`step`, `phase` and `training`: what a training loop did, counted in its own process.

Counting is a few additions: it never waits, and its failures never reach the loop. A separate thread reports the counts to the
node's agent about once per second (`reporter.py`). Each process has one counter: a forked child starts its own.
"""

import functools
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import isfinite
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from energy_agent.core.workloads.training_report import RATE_MAX
from energy_agent.sdk.ranks import RankPosition, place_of
from energy_agent.sdk.training.progress import RunBaseline, Status, counts, run_attributes, status
from energy_agent.sdk.training.reporter import Reporter

if TYPE_CHECKING:
    from energy_agent.sdk.measure.span import WindowSpan

STEP_MAX = 10_000 * RATE_MAX
"""Tokens of one step: nearly three hours at a rate that no rank has."""
F = TypeVar("F", bound=Callable[..., Any])
WAIT_S = 1.0
"""A phase that is shorter than this is no wait: nothing could be steered in it."""
_TRAINING = "training"
_hinted: set[str] = set()


def parse_token_count(tokens: object, total: int, age_s: float) -> int:
    """Tokens of a step as an int, validated because one absurd number would distort every total.

    The agent rejects a process with more tokens than a training can process; such counts are rejected here too.

    Args:
        tokens: as the caller passed them; of any type.
        total: what was counted before.
        age_s: for how long it has been counted, s.

    Raises:
        ValueError: they are not a valid count; the text has the reason.
    """
    if type(tokens) is int:
        count = tokens
    else:
        device = getattr(tokens, "device", None)
        if getattr(device, "type", "cpu") != "cpu":
            raise ValueError("tokens=: expected a value on the CPU, because reading it from a GPU would synchronize")
        if isinstance(tokens, str | bytes):
            raise ValueError(f"tokens=: expected a number, got {type(tokens).__name__}")
        try:
            count = int(tokens)  # type: ignore[call-overload]
        except (TypeError, ValueError, OverflowError, RuntimeError):
            raise ValueError(f"tokens=: expected an integer, got {type(tokens).__name__} {str(tokens)[:40]!r}") from None
    if count < 0:
        raise ValueError("tokens=: expected at least 0")
    if count > STEP_MAX or total + count > RATE_MAX * (age_s + 1):
        raise ValueError(f"tokens=: more than a rank can train ({RATE_MAX} per second)")
    return count


class Counter:
    """The counts of this process, cumulative, and the facts that go with them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._run, self._began_s = secrets.token_hex(8), time.monotonic()
        self._steps: dict[str, int] = {}
        self._tokens = 0
        self._waits: dict[str, float] = {}
        self._stepped_s: float | None = None  # when the last step of training ended
        self._stacks = threading.local()  # a checkpoint that another thread writes takes no steps from the loop
        self._loop = self._stack()  # of the thread that took the last step
        self._loss: object = None  # a tensor is read when it is reported: here it would cost most of a step
        self._place: RankPosition | None = None
        self._facts: dict[str, str] = {}
        self.reporter = Reporter(self.as_report)

    def step(self, tokens: object, loss: object, steps: int = 1) -> None:
        """Count steps. Invalid tokens are dropped and reported once."""
        if type(loss) is not float and getattr(loss, "grad_fn", None) is not None:
            loss = loss.detach()  # type: ignore[attr-defined]  # its graph is not ours to keep alive
        if type(steps) is not int or steps < 0:
            steps = max(0, int(steps))
        stack, wrong = self._stack(), ""
        doing = stack[-1]
        with self._lock:
            self._loop = stack
            self._steps[doing] = self._steps.get(doing, 0) + steps
            if doing == _TRAINING:
                self._stepped_s = time.monotonic() if steps else self._stepped_s
                try:
                    self._tokens += parse_token_count(tokens, self._tokens, time.monotonic() - self._began_s)
                except ValueError as error:
                    wrong = str(error)
            if loss is not None:
                self._loss = loss
        if wrong:
            hint(f"the tokens of a step were not counted: {wrong}")
        if not self.reporter.started:
            self.reporter.start()

    def enter(self, phase: str) -> None:
        """A phase begins in the thread that calls."""
        self._stack().append(phase)
        if not self.reporter.started:
            self.reporter.start()

    def leave(self, phase: str) -> None:
        """The innermost phase of that name, of the thread that calls, is over."""
        stack = self._stack()
        for i in range(len(stack) - 1, 0, -1):
            if stack[i] == phase:
                del stack[i]
                return

    def _stack(self) -> list[str]:
        """What the thread that calls does, innermost last."""
        stack: list[str] | None = getattr(self._stacks, "doing", None)
        if stack is None:
            stack = self._stacks.doing = [_TRAINING]
        return stack

    def waited(self, phase: str, seconds: float) -> None:
        """The host was outside of steps for so long."""
        if seconds >= WAIT_S:
            with self._lock:
                self._waits[phase] = self._waits.get(phase, 0.0) + seconds

    def describe(self, place: RankPosition | None, facts: Mapping[str, object]) -> None:
        """Set facts that are more accurate than those of the environment; "" changes nothing."""
        with self._lock:
            self._place = place or self._place
            self._facts |= {name: _text(value) for name, value in facts.items() if value}

    def as_report(self) -> dict[str, Any]:
        """The report: everything since the process began to count."""
        with self._lock:
            steps, waits = dict(self._steps), {name: round(s, 3) for name, s in self._waits.items()}
            report: dict[str, Any] = {"tokens": self._tokens, "doing": self._loop[-1], **self._facts}
            place, loss, stepped_s = self._place, self._loss, self._stepped_s
        place = place or place_of(os.environ)
        return report | {
            "loss": _number(loss), "run": self._run, "age_s": time.monotonic() - self._began_s, "steps": steps, "waits": waits,
            "rank": place.rank, "world": place.world, "group": report.get("group", place.group),
            "step_age_s": None if stepped_s is None else time.monotonic() - stepped_s,
        }  # fmt: skip


_counter: Counter | None = None
_making = threading.Lock()
_registered = False


def counter() -> Counter:
    """The count of this process."""
    global _counter, _registered
    existing = _counter
    if existing is not None:
        return existing
    with _making:
        if _counter is None:
            _counter = Counter()
        if not _registered:
            _registered = True
            os.register_at_fork(after_in_child=_forked)
        return _counter


def _forked() -> None:
    global _counter, _making
    _counter, _making = None, threading.Lock()  # another thread may have held it; what was counted is the parent's


def step(tokens: int = 0, loss: object = None) -> None:
    """A step of training is done.

    Args:
        tokens: how many this rank trained in it; 0 if they are counted elsewhere or the step has no tokens.
        loss: a number, or a tensor on the CPU. One on a GPU is left out: reading it would wait for the GPU.

    Takes a few us, never waits and never raises; without an agent too. The first of a process loads this module and starts the
    reporter, where `training` or a hook has not done so: tens of ms.

    >>> with training(quiet=True) as run:
    ...     step(tokens=4096)
    ...     run.status(wait=False).tokens
    4096
    """
    try:
        (_counter or counter()).step(tokens, loss)
    except Exception as error:  # noqa: BLE001 - a failure here must not affect the training
        complain(error)


class phase:  # noqa: N801 - reads as a statement: with phase("checkpoint")
    """`with wattlens.phase("checkpoint"):` - the host does something else than training steps, and waits for it.

    Names with a meaning of their own: evaluation, checkpoint, data_wait. Steps that the same thread takes within are
    counted under that name. A phase shorter than a second is not reported as a wait.

    >>> with training(quiet=True) as run, phase("evaluation"):
    ...     step()
    ...     run.status(wait=False).steps
    0
    """

    def __init__(self, name: str) -> None:
        self._name = str(name).lower().replace("-", "_").replace(" ", "_")[:32]
        self._since_s = 0.0

    def __enter__(self) -> Self:
        with suppress(Exception):
            counter().enter(self._name)
        self._since_s = time.monotonic()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(Exception):
            counter().leave(self._name)
            counter().waited(self._name, time.monotonic() - self._since_s)


class training:  # noqa: N801 - reads as a statement: with training(model="llama-8b") as run
    """A training run: `with wattlens.training(model="llama-8b") as run:`, or without `with` from here to the process's end.

    Args:
        model: what is trained; a label of its tokens.
        precision: such as "bf16".
        group: joins the ranks of a job; by default what torchrun, Slurm or MPI say.
        rank: of this process; with the same default.
        world: number of ranks; with the same default.
        quiet: no hint on stderr, and no line at the end of the process.

    `status()` has energy, tokens and steps since it was made. With `with` and a current OpenTelemetry span, it is a span.

    >>> with training(model="llama-8b", quiet=True) as run:
    ...     step(tokens=4096)
    ...     status = run.status()
    >>> status.steps, status.tokens, status.source
    (1, 4096, 'nvml')
    """

    def __init__(
        self,
        *,
        model: str = "",
        precision: str = "",
        group: str | None = None,
        rank: int | None = None,
        world: int | None = None,
        quiet: bool = False,
    ) -> None:
        self._first, self._base = (0, 0), RunBaseline(0, None)
        self._name = model
        self._span: WindowSpan | None = None
        with suppress(Exception):
            count, position = counter(), place_of(os.environ)
            place = RankPosition(
                position.rank if rank is None else rank, position.world if world is None else world, group or position.group
            )
            explicit_place = None if (group, rank, world) == (None, None, None) else place
            count.describe(explicit_place, {"model": model, "precision": precision, "group": group or ""})
            count.reporter.quiet = quiet
            count.reporter.start()
            self._first, self._base = counts(count.as_report()), count.reporter.base()

    def __enter__(self) -> Self:
        if "opentelemetry.trace" in sys.modules:
            with suppress(Exception):
                from energy_agent.sdk.measure.span import open_span

                self._span = open_span(self._name or _TRAINING)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with suppress(Exception):
            counter().reporter.flush()
        span, self._span = self._span, None
        if span is not None:
            with suppress(Exception):
                span.end_with(run_attributes(self.status(wait=False)), error)

    def step(self, tokens: int = 0, loss: object = None) -> None:
        """As `wattlens.step`."""
        step(tokens, loss)

    def phase(self, name: str) -> phase:
        """As `wattlens.phase`."""
        return phase(name)

    def status(self, *, wait: bool = True) -> Status:
        """What is known by now; `print` shows it in a line.

        Args:
            wait: read the energy now, where the last such reading is 5 s old or more: some 0.2 s, a second at most. False:
                the energy is by the agent a second or two old, without one ten seconds at most.

        `steps` and `tokens` are all of the run. `joules` is up to the last reading, from the begin of the run or from where the
        source of the energy last changed; `seconds`, `measured_steps` and `measured_tokens` belong to it.
        """
        count = counter()
        if wait:
            with suppress(Exception):
                count.reporter.refresh()
        report = count.as_report()
        steps, tokens = counts(report)
        run = steps - self._first[0], tokens - self._first[1]
        return status(self._base, count.reporter.view, run, report["loss"], report["world"])

    def widget(self) -> Any:
        """A live view for a notebook; needs the extra `notebook`."""
        from energy_agent.sdk.training.widget import live_view

        return live_view(lambda: self.status(wait=False), self._name)


def _number(value: object) -> float | None:
    """A loss as a number, without waiting for a GPU; None if it is not a number."""
    device = getattr(value, "device", None)
    if value is None or (device is not None and getattr(device, "type", "cpu") != "cpu"):
        return None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None  # a tensor of several numbers, a word
    return number if isfinite(number) else None


def _text(value: object) -> str:
    return "".join(c for c in str(value) if c.isprintable())[:120]


def guarded(method: F) -> F:
    """Wrap a method that a framework calls: its failures are logged once and do not reach the framework."""

    @functools.wraps(method)
    def safe(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - no business of the training
            complain(error)
        return None

    return safe  # type: ignore[return-value]


def complain(error: Exception) -> None:
    """Say once what went wrong in counting."""
    hint(f"a step was not counted: {type(error).__name__}: {error}")


def hint(text: str) -> None:
    """Say once for each kind of trouble, which is what stands before the colon."""
    kind = text.partition(":")[0]
    if kind not in _hinted:
        _hinted.add(kind)
        with suppress(Exception):
            sys.stderr.write(f"wattlens: {text}\n")
