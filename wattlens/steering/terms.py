"""What node, namespace, workload and annotation say of steering, merged into the terms of a group. Pure.

A configuration file, a ConfigMap and an annotation all use the keys of `DvfsPolicySettings`. Laws:

- Nobody is steered further than the node's owner allows: of the modes the least counts, of the caps the lowest, and a schedule
  of each has to allow it.
- A slowdown is the most specific one, and never above what the node's owner lets others request.
- An SLO and the policies are the most specific ones: a workload knows what it serves.
- Workloads that are steered together have the strictest of their terms.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TypeVar
from zoneinfo import ZoneInfo

from dvfs.types import Mode, SteeringSettings
from energy_agent.config.agent import parse_as
from energy_agent.config.dvfs import Dvfs, DvfsPolicySettings, matching
from energy_agent.core.errors import UsageError
from energy_agent.core.week import parse_span
from energy_agent.owners.kubernetes.node_annotation import ANNOTATION
from wattlens.steering.build import specs

T = TypeVar("T")
OFF = DvfsPolicySettings(mode="observe")
_ANNOTATIONS_MAX = 1024
_rank = list(Mode).index
_parse_span = lru_cache(_ANNOTATIONS_MAX)(parse_span)


def annotated(text: str) -> DvfsPolicySettings:
    """The terms of an annotation: one of off, observe, shadow, enforce, or a mapping as of `dvfs.workloads`.

    Raises:
        UsageError: it is neither; says what is wrong, in one line.
    """
    terms = _parse_annotation(text)
    if isinstance(terms, str):
        raise UsageError(terms)
    return terms


@lru_cache(_ANNOTATIONS_MAX)  # each workload's annotation is needed each round, and YAML takes up to 20 ms
def _parse_annotation(text: str) -> DvfsPolicySettings | str:
    """The terms of an annotation, or what is wrong with it."""
    word = text.strip()
    if word == "off":
        return OFF
    if text.endswith("…"):  # it was cut where it came in
        return f"annotation {ANNOTATION} is too long"
    if word in list(Mode):
        text = f"mode: {word}"
    origin = f"annotation {ANNOTATION}"
    try:
        terms = parse_as(DvfsPolicySettings, text.encode(errors="replace"), origin)
        policy_names = ("auto", *specs()[0])
        wrong = [name for name in (terms.policy or "auto").split("+") if name not in policy_names]
        return f"{origin}: policy: expected one of {', '.join(policy_names)}, got {wrong[0]!r}" if wrong else terms
    except UsageError as error:  # a line per fault; health, status and log show a reason as one line
        first, *others = str(error).splitlines()
        return "; ".join([first, *(line.removeprefix(f"{origin}: ") for line in others)])


def terms_of(
    config: Dvfs,
    others: Sequence[DvfsPolicySettings],
    facts: Mapping[str, str],
    workload: str,
    utc_ns: int,
    note: DvfsPolicySettings | None = None,
) -> tuple[SteeringSettings, str]:
    """The terms of a workload now, and what is wrong with its annotation ("" where nothing is).

    Args:
        config: the section `dvfs`.
        others: more specific terms: a group's own.
        facts: of the workload: its namespace, and its annotation under `dvfs`.
        workload: its name.
        utc_ns: now.
        note: the terms of the node's annotation.
    """
    namespace, wrong = facts.get("namespace", ""), ""
    layers = [
        *([note] if note else ()),
        *(matching(config.namespaces, namespace) if namespace else ()),
        *matching(config.workloads, workload),
    ]
    if config.annotations and facts.get("dvfs"):
        try:
            layers.append(annotated(facts["dvfs"]))
        except UsageError as error:  # what its owner wanted is not known: nothing is done then
            layers.append(OFF)
            wrong = str(error)
    return merge(config, [*layers, *others], *_minute_of_week(config, utc_ns)), wrong


def node_mode(config: Dvfs, utc_ns: int, note: DvfsPolicySettings | None = None) -> Mode:
    """The mode now of devices that no workload has; `note`: as of `terms_of`."""
    return merge(config, [note] if note else [], *_minute_of_week(config, utc_ns)).mode


def _minute_of_week(config: Dvfs, utc_ns: int) -> tuple[int, int]:
    now = datetime.fromtimestamp(utc_ns / 1e9, ZoneInfo(config.time_zone))
    return now.weekday(), 60 * now.hour + now.minute


def merge(node: Dvfs, others: Sequence[DvfsPolicySettings], day: int, minute: int) -> SteeringSettings:
    """The terms at a minute of the week, in the node's time.

    Args:
        node: of the node's owner.
        others: of namespace and workload, the most specific last.
        day: of the week, from 0 for Monday.
        minute: of the day.
    """
    every = (node, *others)
    spans = [[_parse_span(text) for text in one.schedule] for one in every if one.schedule is not None]
    is_open = all(any(span.holds(day, minute) for span in schedule) for schedule in spans)
    asked = _last(one.slowdown for one in others)
    slos = [one.slo for one in every if one.slo is not None]
    ttft_ms, itl_ms = _last(slo.ttft_ms for slo in slos), _last(slo.itl_ms for slo in slos)
    # Where nobody names a policy: that of an SLO, where there is one, else that of training.
    default = "progress" if ttft_ms is None and itl_ms is None else "slo"
    policy = _last(one.policy for one in every) or "auto"
    caps_mw = [round(one.cap_w * 1000) for one in every if one.cap_w is not None]
    return SteeringSettings(
        mode=min((Mode(one.mode) for one in every if one.mode is not None), key=_rank) if is_open else Mode.OBSERVE,
        policies=tuple(dict.fromkeys(default if name == "auto" else name for name in policy.split("+"))),
        slowdown_ratio=node.slowdown if asked is None else min(asked, max(node.slowdown_most, node.slowdown)),
        ttft_s=None if ttft_ms is None else ttft_ms / 1000,
        itl_s=None if itl_ms is None else itl_ms / 1000,
        attainment_ratio=_last(slo.attainment for slo in slos) or SteeringSettings().attainment_ratio,
        cap_mw=min(caps_mw, default=None),
        shared=bool(_last(one.shared for one in others)),
        is_auto=policy == "auto",
    )


def _last(values: Iterable[T | None]) -> T | None:
    return next((value for value in reversed(list(values)) if value is not None), None)


def merge_workloads(terms: Sequence[SteeringSettings], *, same_owner: bool) -> SteeringSettings | None:
    """The terms of workloads that are steered together; None where several owners name different policies.

    Several owners share devices: none of them is slowed by what another wants, so a cap counts only where all have one, and
    then the highest.
    """
    first = min(terms, key=lambda one: _rank(one.mode))
    if not same_owner and any(one.policies != first.policies for one in terms):
        return None
    caps = [one.cap_mw for one in terms if one.cap_mw is not None]
    common_mw = max(caps) if len(caps) == len(terms) else None
    return SteeringSettings(
        mode=first.mode,
        policies=first.policies,
        slowdown_ratio=min(one.slowdown_ratio for one in terms),
        ttft_s=min((one.ttft_s for one in terms if one.ttft_s is not None), default=None),
        itl_s=min((one.itl_s for one in terms if one.itl_s is not None), default=None),
        attainment_ratio=max(one.attainment_ratio for one in terms),
        cap_mw=min(caps, default=None) if same_owner else common_mw,
        shared=all(one.shared for one in terms),
        is_auto=all(one.is_auto for one in terms),
    )
