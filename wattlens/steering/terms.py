"""What the configuration and a pod's annotation say of steering, as the words of dvfs/governor/terms.py."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from dvfs.governor.terms import Said, merged
from dvfs.types import Mode, Terms
from energy_agent.config.agent import parse_as
from energy_agent.config.dvfs import Dvfs, DvfsTerms, matching
from energy_agent.core.errors import UsageError
from energy_agent.core.week import parse_span
from energy_agent.owners.kubernetes.node_annotation import ANNOTATION

_ANNOTATIONS_MAX = 1024
_HOW_FAR = (Mode.OBSERVE, Mode.SHADOW, Mode.ENFORCE)
_WORDS = {"off": Mode.OBSERVE, "observe": Mode.OBSERVE, "shadow": Mode.SHADOW, "enforce": Mode.ENFORCE}


def said(terms: DvfsTerms) -> Said:
    """A section of the file as words."""
    slo = terms.slo
    return Said(
        None if terms.mode is None else Mode(terms.mode),
        None if terms.policy in (None, "auto") else tuple(str(terms.policy).split("+")),
        terms.slowdown,
        None if slo is None or slo.ttft_ms is None else slo.ttft_ms / 1000,
        None if slo is None or slo.itl_ms is None else slo.itl_ms / 1000,
        None if slo is None else slo.attainment,
        None if terms.cap_w is None else round(terms.cap_w * 1000),
        terms.shared,
        None if terms.schedule is None else tuple(map(parse_span, terms.schedule)),
    )


def annotated(text: str) -> Said:
    """What an annotation says: one of off, observe, shadow, enforce, or a mapping as of `dvfs.workloads`.

    Raises:
        UsageError: it is neither; says what is wrong, in one line.
    """
    terms = _parse_annotation(text)
    if isinstance(terms, str):
        raise UsageError(terms)
    return terms


@lru_cache(_ANNOTATIONS_MAX)  # each workload's annotation is needed each round, and YAML takes up to 20 ms
def _parse_annotation(text: str) -> Said | str:
    """The terms of an annotation, or what is wrong with it."""
    word = _WORDS.get(text.strip())
    if word is not None:
        return Said(mode=word)
    if text.endswith("…"):  # it was cut where it came in
        return f"annotation {ANNOTATION} is too long"
    try:
        return said(parse_as(DvfsTerms, text.encode(errors="replace"), f"annotation {ANNOTATION}"))
    except UsageError as error:
        return str(error)


def terms_of(config: Dvfs, others: list[Said], facts: Mapping[str, str], workload: str, utc_ns: int) -> tuple[Terms, str]:
    """The terms of a workload now, and what is wrong with its annotation ("" where nothing is).

    Args:
        config: the section `dvfs`.
        others: more words, the most specific last: a group's own, the node's annotation.
        facts: of the workload: its namespace, and its annotation under `dvfs`.
        workload: its name.
        utc_ns: now.
    """
    found = [said(each) for each in matching(config.namespaces, facts.get("namespace", "")) if facts.get("namespace")]
    found += [said(each) for each in matching(config.workloads, workload)]
    wrong = ""
    if config.annotations and facts.get("dvfs"):
        try:
            found.append(annotated(facts["dvfs"]))
        except UsageError as error:  # what its owner wanted is not known: nothing is done then
            found.append(Said(mode=Mode.OBSERVE))
            wrong = str(error)
    now = datetime.fromtimestamp(utc_ns / 1e9, ZoneInfo(config.time_zone))
    terms = merged(said(config), [*found, *others], config.slowdown_most, now.weekday(), 60 * now.hour + now.minute)
    return _with_policies(terms), wrong


def _with_policies(terms: Terms) -> Terms:
    """Where nobody named a policy: an SLO's, where there is one, else that of training."""
    if terms.policies:
        return terms
    return replace(terms, policies=("slo",) if terms.ttft_s is not None or terms.itl_s is not None else ("progress",))


def merge_for_owner(terms: Sequence[Terms]) -> Terms:
    """The terms of one owner's workloads that are steered together: of each word the one that binds most."""
    first = min(terms, key=lambda t: _HOW_FAR.index(t.mode))
    return replace(
        _protect(terms),
        policies=first.policies,
        cap_mw=min((t.cap_mw for t in terms if t.cap_mw is not None), default=None),
    )


def merge_for_sharers(terms: Sequence[Terms]) -> Terms | None:
    """The terms of several owners' workloads on the same devices; None where they name different policies.

    None of them is slowed by what another wants: a cap counts only where all have one, and then the highest.
    """
    if len({t.policies for t in terms}) > 1:
        return None
    caps = [t.cap_mw for t in terms if t.cap_mw is not None]
    return replace(_protect(terms), policies=terms[0].policies, cap_mw=max(caps) if len(caps) == len(terms) else None)


def _protect(terms: Sequence[Terms]) -> Terms:
    """Of each word that limits what steering may do to a workload, the strictest."""
    return Terms(
        mode=min((t.mode for t in terms), key=_HOW_FAR.index),
        slowdown_ratio=min(t.slowdown_ratio for t in terms),
        ttft_s=min((t.ttft_s for t in terms if t.ttft_s is not None), default=None),
        itl_s=min((t.itl_s for t in terms if t.itl_s is not None), default=None),
        attainment_ratio=max(t.attainment_ratio for t in terms),
        shared=all(t.shared for t in terms),
    )
