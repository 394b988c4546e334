"""`wattlens report`: a one-page report of a ledger, with its facts document and CodeCarbon's emissions.csv."""

import argparse
import json
from pathlib import Path
from typing import Any

from wattlens.cli._command import Command


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `wattlens report`."""
    parser.add_argument("--ledger", metavar="DIR", required=True, help="folder of segments, or an agent's state folder")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the report; made if it is not there")
    parser.add_argument("--quarter", metavar="2026Q3", help="calendar quarter in UTC")
    parser.add_argument("--from", dest="start", metavar="T", help="start on a quarter hour, ISO 8601 (UTC)")
    parser.add_argument("--to", dest="end", metavar="T", help="end (not included), written like --from")
    parser.add_argument("--country", metavar="ISO3", help="country of the grid, such as DEU; without it CO2e is absent")
    parser.add_argument("--savings", metavar="FILE", help="DVFS savings statement (JSON) to include")
    parser.add_argument("--json", action="store_true", help="print paths and headline figures as JSON")


def run(parsed: argparse.Namespace) -> int:
    """Write index.html, facts.json and emissions.csv, and say where they are."""
    from energy_agent.core.errors import UsageError
    from energy_agent.factors.countries import country_factor
    from reports import period
    from reports.facts import build_facts
    from reports.publish import publish
    from reports.reading import read_ledger
    from reports.savings import read_savings

    if parsed.quarter and (parsed.start or parsed.end):
        raise UsageError("--quarter and --from/--to exclude each other; give one of them")
    span = period.from_quarter(parsed.quarter) if parsed.quarter else period.from_instants(parsed.start, parsed.end)
    factor = country_factor(parsed.country) if parsed.country is not None else None
    savings = read_savings(Path(parsed.savings)) if parsed.savings else None
    facts = build_facts(read_ledger(Path(parsed.ledger), span), factor, savings)
    paths = publish(facts, Path(parsed.out))
    headline = _headline(facts)
    if parsed.json:
        print(json.dumps({"files": {k: str(p) for k, p in paths.items()}, "headline": headline}, indent=2))
        return 0
    for line in headline.values():
        print(line["text"])
    for path in paths.values():
        print(path)
    return 0


def _headline(facts: Any) -> dict[str, dict[str, str | None]]:
    """The figures of the page's first section, by their id."""
    from reports.sections import headline

    found: dict[str, dict[str, str | None]] = {}
    for tile in headline.tiles(facts):
        figure = facts.figures.get(tile.figure_id)
        exact = {"value": figure.value, "low": figure.low, "high": figure.high, "unit": figure.unit} if figure else {}
        found[tile.label] = {"text": f"{tile.label + ':':<22} {tile.value}  ({tile.detail})", "figure": tile.figure_id, **exact}
    return found


SPEC = Command("write a one-page energy and CO2e report of a ledger (HTML, facts JSON, emissions.csv)", configure, run)
