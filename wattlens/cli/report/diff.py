"""`wattlens report diff`: every figure that two editions of a report state otherwise, by how much, and why."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError
from wattlens.cli._options import share

if TYPE_CHECKING:
    from reports.audit.difference import FigureChange
    from reports.audit.edition import Edition

_MOST = 50


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `wattlens report diff`."""
    parser.add_argument("old", type=Path, metavar="OLD", help="folder of the earlier edition, or its facts.json")
    parser.add_argument("new", type=Path, metavar="NEW", help="folder of a later edition, or its facts.json")
    due = "smallest change of a total that requires restating comparatives (default 5%%)"
    parser.add_argument("--threshold", type=share(above=True), default="5%", metavar="SHARE", help=due)
    parser.add_argument("--all", action="store_true", help=f"show all figures (default: the {_MOST} with the largest change)")
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print every figure and part as JSON")


def run(args: argparse.Namespace) -> int:
    """Compare and explain: 0 where everything is explained, 1 where a figure differs without a cause."""
    from energy_agent.core.text import printable
    from reports.audit.causes import input_changes
    from reports.audit.difference import difference, elsewhere, restatement_due, same_period
    from reports.audit.edition import read_edition
    from reports.audit.shown import change_json, change_lines, input_lines, inputs_json

    threshold = args.threshold
    old, new = read_edition(args.old), read_edition(args.new)
    if not same_period(old, new):
        raise UsageError(
            f"expected two editions of one period, got {args.old} of {_period(old)} and {args.new} of {_period(new)}"
        )
    inputs = input_changes(old, new)
    changes = difference(old, new, inputs)
    due, other_differences = restatement_due(changes, threshold), elsewhere(old, new)
    unexplained = [each for each in changes if not each.explained]
    if args.json:
        document = {
            "old": {"name": old.name, "label": old.label, "edition": old.number + 1, "sha256": old.sha256},
            "new": {"name": new.name, "label": new.label, "edition": new.number + 1, "sha256": new.sha256},
            "restates": new.restates == old.sha256,
            "inputs": inputs_json(inputs),
            "changes": [change_json(each) for each in changes],
            "elsewhere": other_differences,
            "threshold": float(threshold),
            "restatement_due": [each.id for each in due],
            "unexplained": [each.id for each in unexplained],
        }
        print(json.dumps(document, indent=2))
        return 1 if unexplained else 0
    lines = [*_heads(old, new), "Inputs that differ:", *(input_lines(inputs) or ["  none"]), ""]
    if changes:
        shown = changes if args.all else _first(changes, unexplained)
        lines += change_lines(shown)
        if len(shown) < len(changes):
            lines.append(f"and {len(changes) - len(shown)} more figures; --all shows them")
        lines.append("")
    lines.append(_count_changes(len(changes), len(old.figures.keys() | new.figures.keys())))
    if other_differences:
        lines.append(f"Other differences: {', '.join(other_differences)}.")
    lines.append(_due(due, f"{float(100 * threshold):g}%"))
    if unexplained:
        lines.append(f"{len(unexplained)} not explained: {', '.join(each.id for each in unexplained[:5])}")
    print("\n".join(map(printable, lines)))
    return 1 if unexplained else 0


def _heads(old: "Edition", new: "Edition") -> list[str]:
    from reports.audit.shown import edition_text

    lines = [f"OLD  {edition_text(old)}", f"NEW  {edition_text(new)}"]
    if new.restates is not None:
        restates = "OLD" if new.restates == old.sha256 else f"another edition, {new.restates[:16]}"
        lines.append(f"NEW restates {restates}.")
    if old.program is None or new.program is None:
        lines.append("Program versions are not compared, because an edition has no manifest.")
    return [*lines, ""]


def _period(edition: "Edition") -> str:
    from reports.period import utc_text

    if edition.label or not edition.sites:
        return edition.label or "no named period"
    ends = [(start, end) for start, end, _ in edition.sites.values()]
    return f"{utc_text(min(a for a, _ in ends))} to {utc_text(max(b for _, b in ends))}"


def _first(changes: "list[FigureChange]", unexplained: "list[FigureChange]") -> "list[FigureChange]":
    """What is shown without --all: what moved most, and whatever nobody can explain."""
    shown = {each.id for each in [*unexplained[:_MOST], *changes[:_MOST]]}
    return [each for each in changes if each.id in shown]


def _count_changes(changed: int, all_figures: int) -> str:
    return f"{changed} of {all_figures} figures differ." if changed else f"All {all_figures} figures are the same."


def _due(due: "list[FigureChange]", threshold: str) -> str:
    from reports.audit.shown import moved

    if not due:
        return f"No total changed by {threshold} or more: comparatives do not need to be restated."
    named = ", ".join(f"{each.id} ({moved(each)})" for each in due[:5])
    more = f" and {len(due) - 5} more" if len(due) > 5 else ""
    return f"Restate the comparatives: {named}{more} changed by {threshold} or more."
