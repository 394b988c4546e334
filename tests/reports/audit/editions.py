"""Facts of small reports, written by hand for the tests of the audit trail: two sites, each with its own factor.

The first edition: fra1 took 1000 kWh at 400 g/kWh and sjc1 2000 kWh at 250 g/kWh, so 400 kg and 500 kg, 900 kg together.
"""

import hashlib
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from reports.audit.edition import Edition, edition
from reports.audit.manifest import Manifest, write_manifest

DAY_NS = 86_400_000_000_000
START_NS = 1_782_864_000_000_000_000  # 2026-07-01T00:00Z, from `date -u -d 2026-07-01 +%s`
DAYS = ("2026-07-01", "2026-07-02")
FORMS = ("facts.json", "report.html", "figures.csv")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def figure(identity: str, value: str | None, unit: str, **more: Any) -> dict[str, Any]:
    fields = {
        "id": identity, "value": value, "unit": unit, "method": "counter", "boundary": "facility", "coverage": "1",
        "low": None, "high": None, "sources": ["ledger"], "factor_ids": [], "dims": {}, "reason": None,
    }  # fmt: skip
    return fields | more


def factor(identity: str, value: str, **more: str) -> dict[str, Any]:
    return {"id": identity, "value": value, "unit": "g/kWh", "sha256": digest(f"table of {identity}"), **more}


def day(site: str, date: str, statement: int = 0) -> dict[str, Any]:
    what = f"{site} {date} {statement}"
    files = {"cell.parquet": digest(f"cells of {what}"), "span.parquet": digest(f"spans of {what}")}
    return {"site": site, "day": date, "statement": statement, "inputs_sha256": digest(what), "files": files}


def document() -> dict[str, Any]:
    """Facts of the first edition."""
    site = {"time_zone": "UTC", "start_ns": str(START_NS), "end_ns": str(START_NS + 2 * DAY_NS)}
    figures = [
        figure("co2e.location", "900000", "g", factor_ids=["deu-2024", "usa-2024"]),
        figure("co2e.location/site/fra1", "400000", "g", factor_ids=["deu-2024"]),
        figure("co2e.location/site/sjc1", "500000", "g", factor_ids=["usa-2024"]),
        figure("energy.facility", "3000", "kWh", low="2900", high="3100"),
        figure("energy.facility/site/fra1", "1000", "kWh", low="990", high="1010"),
        figure("energy.facility/site/sjc1", "2000", "kWh", low="1980", high="2020"),
    ]
    return {
        "schema": "wattlens.report.facts/2",
        "organisation": "Example",
        "label": "2026Q3",
        "status": "final",
        "simulated": False,
        "edition": 1,
        "restates": None,
        "sites": {"fra1": site, "sjc1": dict(site)},
        "figures": figures,
        "factors": [factor("deu-2024", "400"), factor("usa-2024", "250")],
        "inputs": {
            "days": [day(site, date) for site in ("fra1", "sjc1") for date in DAYS],
            "files": [{"name": "org.yaml", "sha256": digest("org.yaml")}],
        },
        "conservation": {"devices_uj": "1", "holds": True},
        "missing": {"water": "no meter"},  # a key that this version does not know
    }


def figure_of(facts: dict[str, Any], identity: str) -> dict[str, Any]:
    """A figure of the document, to be changed in place."""
    return next(each for each in facts["figures"] if each["id"] == identity)


def restated(facts: dict[str, Any], site: str, date: str) -> None:
    """Restate a site's day."""
    days = facts["inputs"]["days"]
    at = next(n for n, each in enumerate(days) if (each["site"], each["day"]) == (site, date))
    days[at] = day(site, date, days[at]["statement"] + 1)


def revised(facts: dict[str, Any], old: str, new: dict[str, Any]) -> None:
    """Put another factor in the place of one, wherever it is named."""
    facts["factors"] = [new if each["id"] == old else each for each in facts["factors"]]
    for each in facts["figures"]:
        each["factor_ids"] = [new["id"] if name == old else name for name in each["factor_ids"]]


def late_and_revised() -> dict[str, Any]:
    """The second edition, worked out by hand.

    A day of sjc1 came late: 2100 kWh instead of 2000, at 250 g/kWh 525 kg. Germany's factor became 380 g/kWh: fra1's 1000 kWh
    are 380 kg. Together 905 kg: -20 kg by the factor, +25 kg by late data.
    """
    facts = document()
    facts |= {"edition": 2, "restates": sha256(document())}
    restated(facts, "sjc1", DAYS[1])
    revised(facts, "deu-2024", factor("deu-2025", "380"))
    for identity, value in {
        "co2e.location": "905000",
        "co2e.location/site/fra1": "380000",
        "co2e.location/site/sjc1": "525000",
        "energy.facility": "3100",
        "energy.facility/site/sjc1": "2100",
    }.items():
        figure_of(facts, identity)["value"] = value
    figure_of(facts, "energy.facility").update({"low": "3000", "high": "3200"})
    figure_of(facts, "energy.facility/site/sjc1").update({"low": "2079", "high": "2121"})
    return facts


def raw(facts: dict[str, Any]) -> bytes:
    facts = deepcopy(facts)
    facts["figures"].sort(key=lambda each: each["id"])
    return (json.dumps(facts, sort_keys=True, indent=1, ensure_ascii=True) + "\n").encode()


def sha256(facts: dict[str, Any]) -> str:
    return hashlib.sha256(raw(facts)).hexdigest()


def make_edition(facts: dict[str, Any], **more: Any) -> Edition:
    return edition(raw(facts), "facts.json", **more)


def write(folder: Path, facts: dict[str, Any] | None = None, program: str = "wattlens 1.0.0", **command: Any) -> Manifest:
    """A report's folder with its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "facts.json").write_bytes(raw(document() if facts is None else facts))
    (folder / "report.html").write_text("<!doctype html><title>Energy</title>\n")
    (folder / "figures.csv").write_text("id,value\nenergy.facility,3000\n")
    given = {"quarter": "2026Q3", "ledger": "ledger", **command}
    return write_manifest(folder, program=program, command=given, outputs=FORMS, libraries={})
