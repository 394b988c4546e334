"""`wattlens report diff`: inputs and figures that differ between two editions of a report."""

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command, CommandOptions, print_json, print_lines
from wattlens.cli._options import share

if TYPE_CHECKING:
    from reports.audit.difference import FigureChange
    from reports.audit.edition import Edition

_MOST = 50


def _configure(add: CommandOptions) -> None:
    add("old OLD", "folder of the earlier edition, or its facts.json", type=Path)
    add("new NEW", "folder of a later edition, or its facts.json", type=Path)
    add(
        "--threshold SHARE",
        "smallest change of a total that requires restating comparatives (default 5%%)",
        type=share(above=True),
        default="5%",
    )
    add("--all", f"show all figures (default: the {_MOST} with the largest change)")
    add("--json", "print every input and figure as JSON")


def _run(args: Namespace) -> int:
    """Compare: 0, or 1 if figures differ although no input does."""
    from reports.audit.difference import difference, elsewhere, input_changes, restatement_due, same_period
    from reports.audit.edition import read_edition
    from reports.audit.shown import change_json, change_lines, input_lines

    threshold = args.threshold
    old, new = read_edition(args.old), read_edition(args.new)
    if not same_period(old, new):
        raise UsageError(
            f"expected two editions of one period, got {args.old} of {_period(old)} and {args.new} of {_period(new)}"
        )
    inputs = input_changes(old, new)
    changes = difference(old, new)
    due, other_differences = restatement_due(changes, threshold), elsewhere(old, new)
    unexplained = [] if inputs else [each.id for each in changes]
    if args.json:
        document = {
            "old": {"name": old.name, "label": old.label, "edition": old.number + 1, "sha256": old.sha256},
            "new": {"name": new.name, "label": new.label, "edition": new.number + 1, "sha256": new.sha256},
            "restates": new.restates == old.sha256,
            "inputs": [asdict(each) for each in inputs],
            "changes": [change_json(each) for each in changes],
            "elsewhere": other_differences,
            "threshold": float(threshold),
            "restatement_due": [each.id for each in due],
            "unexplained": unexplained,
        }
        print_json(document)
        return 1 if unexplained else 0
    lines = [*_heads(old, new), "Inputs that differ:", *input_lines(inputs), ""]
    if changes:
        most = len(changes) if args.all else _MOST
        lines += change_lines(changes[:most])
        if len(changes) > most:
            lines.append(f"and {len(changes) - most} more figures; --all shows them")
        lines.append("")
    lines.append(_count_changes(len(changes), len(old.figures.keys() | new.figures.keys())))
    if other_differences:
        lines.append(f"Other differences: {', '.join(other_differences)}.")
    lines.append(_due(due, f"{float(100 * threshold):g}%"))
    if unexplained:
        lines.append("Figures differ although no input does.")
    print_lines(lines)
    return 1 if unexplained else 0


def _heads(old: "Edition", new: "Edition") -> list[str]:
    from reports.audit.shown import edition_text

    lines = [f"OLD  {edition_text(old)}", f"NEW  {edition_text(new)}"]
    if new.restates is not None:
        restates = "OLD" if new.restates == old.sha256 else f"another edition, {new.restates[:16]}"
        lines.append(f"NEW restates {restates}.")
    if old.program is None or new.program is None:
        lines.append("Program versions are not compared, because an edition has no manifest.")
    if old.command is None or new.command is None:
        lines.append("Arguments are not compared, because an edition has no manifest.")
    return [*lines, ""]


def _period(edition: "Edition") -> str:
    from reports.period import utc_text

    if edition.label or not edition.sites:
        return edition.label or "no named period"
    ends = [(start, end) for start, end, _ in edition.sites.values()]
    return f"{utc_text(min(a for a, _ in ends))} to {utc_text(max(b for _, b in ends))}"


def _count_changes(changed: int, all_figures: int) -> str:
    return f"{changed} of {all_figures} figures differ." if changed else f"All {all_figures} figures are the same."


def _due(due: "list[FigureChange]", threshold: str) -> str:
    from reports.audit.shown import moved

    if not due:
        return f"No total changed by {threshold} or more: comparatives do not need to be restated."
    named = ", ".join(f"{each.id} ({moved(each)})" for each in due[:5])
    more = f" and {len(due) - 5} more" if len(due) > 5 else ""
    return f"Restate the comparatives: {named}{more} changed by {threshold} or more."


COMMAND = Command("list every input and figure that differs between two editions", _configure, _run)
