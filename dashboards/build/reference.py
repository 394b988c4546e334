"""The reference of metrics, docs/metrics.md, from the catalogue."""

import re
from collections import Counter
from string import ascii_lowercase

from energy_agent.core.catalogue.metric import Signal
from energy_agent.core.catalogue.node import CATALOGUE

_HEAD = """# Metrics

Built by `wattlens dashboards build` from the metric catalogue (`energy_agent/core/catalogue`); do not edit.

Every name starts with `wattlens_` and keeps its meaning once released. Units are base units; a ratio is between 0 and 1, but a
PUE is at least 1. Series of a GPU have the labels `gpu`, the driver's index, and `uuid`. Join metadata over `uuid` or
`workload`:

    wattlens_gpu_power_watts * on (instance, uuid) group_left (name) wattlens_gpu_info

An unknown value has no series: it is never 0, NaN or the last value, and `wattlens_gpu_absent_info` or
`wattlens_source_down_info` has the reason. Samples have no timestamps of their own.
"""
_GROUPS = (
    ("GPUs", ("gpu_",)),
    (
        "Workloads",
        (
            "workload_",
            "namespace_",
            "owner_",
            "tokens_",
            "training_",
            "time_",
            "inter_",
            "requests_",
            "engine_steps_",
            "draft_",
            "accepted_",
        ),
    ),
    ("Serving", ("serving_", "prefill_", "decode_", "prompt_price_", "generation_price_", "engine_hour_", "request_energy_")),
    ("DVFS", ("dvfs_",)),
    (
        "Node, sources, ledger and agent",
        ("build_", "node_", "energy_", "source_", "ledger_", "config_", "reader_", "process_"),
    ),
    ("Site", ("facility_", "pue_", "grid_")),
)


_REPEATED = 3
"""A sentence on behaviour that so many families share becomes a footnote."""
_GPU = ("gpu", "uuid")


def to_markdown() -> str:
    """The page."""
    notes = _notes()
    parts = [_HEAD, "\nLetters in the last column stand for these sentences:\n\n"]
    parts.extend(f"- **{letter}** {sentence}\n" for sentence, letter in notes.items())
    for title, prefixes in _GROUPS:
        rows = (s for s in CATALOGUE if s.name.startswith(prefixes))
        labels = "labels, in addition to `gpu` and `uuid`" if prefixes == ("gpu_",) else "labels"
        parts.append(f"\n## {title}\n\n| name | kind | {labels} | meaning | behaviour |\n| --- | --- | --- | --- | --- |\n")
        parts.extend(f"{_row(signal, notes, _GPU if prefixes == ('gpu_',) else ())}\n" for signal in rows)
    return "".join(parts)


def _notes() -> dict[str, str]:
    """Letters of the sentences on behaviour that are repeated, in the order of the catalogue."""
    counts = Counter(sentence for signal in CATALOGUE for sentence in _sentences(signal.behaviour))
    repeated = [sentence for sentence, count in counts.items() if count >= _REPEATED]
    return dict(zip(repeated, ascii_lowercase, strict=False))


def _sentences(behaviour: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=\.) (?=[A-Z])", behaviour) if sentence]


def _row(signal: Signal, notes: dict[str, str], implied: tuple[str, ...]) -> str:
    extra_labels = signal.labels[len(implied) :] if signal.labels[: len(implied)] == implied else signal.labels
    labels = ", ".join(f"`{label}`" for label in extra_labels)
    sentences = _sentences(signal.behaviour)
    letters = ", ".join(f"**{notes[sentence]}**" for sentence in sentences if sentence in notes)
    behaviour = " ".join([sentence for sentence in sentences if sentence not in notes] + [letters]).strip()
    return f"| `{signal.metric}` | {signal.kind} | {labels} | {signal.help} | {behaviour} |"
