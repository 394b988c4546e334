"""Methods and reasons in the facts of earlier versions, in the present words. Pure.

A rewording is not a change of a figure, so editions are compared in the present words.
"""

import re
from typing import Final

_WORDS: Final = {
    "sum of totals over sum of IT": "total energy over IT energy, both summed",
    ", rest at the residual mix": ", the rest at the residual mix",
    "device time metered, of the inventory's": "metered device time, as a share of the inventory's",
    "the total less what workloads held": "the total minus the workloads' share",
    "time metered less time held": "metered time minus allocated time",
    "time held": "allocated time",
    "made on the site": "produced on the site",
    "handed over": "delivered for reuse",
    "nodes over metered IT": "nodes divided by metered IT",
    "increase of the counters over the ledger": "increase of the counters divided by the ledger",
    "without an inventory a device that was never seen is not missed": (
        "without an inventory, devices that were never seen are not expected"
    ),
    "a node of which nothing was seen has the boards of the usual node": (
        "a node that was never seen counts with the usual number of GPUs"
    ),
    "reserved and idle hardware in E; the span is that of M alone": (
        "including reserved and idle hardware in E; the range is that of M only"
    ),
    "a span, as embodied emissions are one": "a range, because embodied emissions are a range",
    "a span over published figures, never one number": "a range of published figures, never one number",
    "an analysis whose interval does not hold its estimate": "an analysis whose interval does not contain its estimate",
    "analyses of its experiment are missing in the ledger": "analyses of its experiment are missing from the ledger",
    "what the facility adds is not in it": "facility overhead is not included",
    "grams of different emissions are not compared": "emissions on different bases are not compared",
    "IT energy was not metered by a PUE's category": "IT energy was not metered at a PUE category",
    "its factors are of the life cycle, and Scope 2 counts direct emissions alone": (
        "its factors are life-cycle factors, and Scope 2 counts direct emissions only"
    ),
    "its meters were there for": "its meters covered",
    "no energy was booked to it": "no energy is recorded for it",
    "no input tells the site's water": "no input has the site's water",
    "no intensity of the grid is known for": "the carbon intensity of the grid is unknown for",
    "a meter of the whole node": "a whole-node meter",
    "no Prometheus was asked": "no Prometheus was queried",
    "no sensor saw this energy; it is in no sum": "no sensor measured this energy; no sum includes it",
    "nobody declared it": "not declared",
    "none of its workloads is of a class that has a price": "none of its workloads has a price class with a price",
    "not every site has meters of its total and of its IT": "not every site has total and IT meters",
    "tariffs are of several currencies": "tariffs use several currencies",
    "the grid's grams are nothing": "the grid's emissions are zero",
    "the ledger holds no meter": "the ledger has no meter",
    "the ledger holds nothing of that quarter": "the ledger has no data of that quarter",
    "the quarter still runs; it is compared once it is over": "the quarter has not ended; it is compared when it has",
    "the sites count different emissions of the grid": "the sites use different bases for the emissions of the grid",
    "took energy and has no volume": "used energy but has no volume",
    "water is not known for all of the period, or in several categories": (
        "water is not known for the whole period, or has several categories"
    ),
    "what its electricity cost is not known": "the cost of its electricity is not known",
    "a part of its energy has no tariff": "part of its energy has no tariff",
}
_FORMS: Final = (
    (re.compile(r"(\d+) devices state no error of their sensor"), r"devices without a stated sensor error: \1"),
    (
        re.compile(r"nothing bounds what (\d+) devices drew while no sensor saw them"),
        r"devices whose energy in gaps has no upper bound: \1",
    ),
    (
        re.compile(r"([^;]+?) is (?:told|reported) at the boundary ([^;]+?) then, and ([^;]+?) now"),
        r"the boundary of \1 was \2 then, and is \3 now",
    ),
)
"""Sentences whose fields moved."""


def in_present_words(text: str) -> str:
    """Return a method or a reason of any version in the present words."""
    for earlier, present in _WORDS.items():
        text = text.replace(earlier, present)
    for form, present in _FORMS:
        text = form.sub(present, text)
    return text
