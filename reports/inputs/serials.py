"""Serial numbers of certificates as ranges, so that no certificate counts twice. Pure.

A registry issues one certificate per MWh and numbers them. A statement of retirement lists ranges such as
`DE-2026-000101..DE-2026-000104`, four certificates. Numbers compare within one prefix, however its case, spaces and punctuation
are written. Two names are those of one registry if one is a part of the other, or its initials; European registries share
one series of numbers. The same numbers under other names may be other certificates, which a warning states.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

_NUMBERED: Final = re.compile(r"(.*?)([0-9]{1,40})")
RANGES_MAX: Final = 1000
_EUROPEAN: Final = frozenset(
    "eecs aib hknr herkunftsnachweisregister umweltbundesamt uba necs statnett cesar energinet grexel cmo econtrol eex gse cnmc ote certiq verticer pronovo".split()  # noqa: SIM905, E501
)
"""Registries of the Association of Issuing Bodies, and their operators: a certificate keeps its number between them."""


@dataclass(frozen=True, slots=True)
class SerialRange:
    """Consecutive certificates: `prefix` with the numbers `first` to `last`."""

    prefix: str
    first: int
    last: int

    @property
    def count(self) -> int:
        """Number of certificates, one per MWh."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Retirement:
    """The retirement of a contract's certificates.

    Args:
        owner: the contract, and its site where there are several, as messages name it.
        retirement: ID of the retirement; "" without one.
        registry: registry of the certificates; "" if unknown.
        serials: ranges of their serial numbers; empty if unknown.
    """

    owner: str
    retirement: str
    registry: str = ""
    serials: Sequence[SerialRange] = ()


def parse_serials(text: str) -> tuple[SerialRange, ...]:
    """Return the ranges in a text such as `A-001..A-100; A-205`.

    Raises:
        ValueError: a part is not a range of serial numbers, or two parts overlap.
    """
    parts = [part.strip() for part in text.split(";") if part.strip()]
    if len(parts) > RANGES_MAX:
        raise ValueError(f"expected at most {RANGES_MAX} ranges of serial numbers, got {len(parts)}")
    ranges = []
    for part in parts:
        ends = [_NUMBERED.fullmatch("".join(end.split()).upper()) for end in part.split("..")]
        first, last = ends[0], ends[-1]
        if len(ends) > 2 or first is None or last is None or first[1] != last[1] or int(last[2]) < int(first[2]):
            raise ValueError(f"expected serial numbers such as DE-000101..DE-000104, got {part[:80]!r}")
        ranges.append(SerialRange(first[1], int(first[2]), int(last[2])))
    if pair := overlap(ranges, ranges):
        raise ValueError(f"serial numbers {pair} are listed twice")
    return tuple(ranges)


def overlap(some: Sequence[SerialRange], others: Sequence[SerialRange]) -> str:
    """Return the first serial numbers that are in two ranges, as text; "" if they share no number."""
    for one in some:
        for other in others:
            same_prefix = _separated(one.prefix) == _separated(other.prefix)
            if one is not other and same_prefix and max(one.first, other.first) <= min(one.last, other.last):
                return f"{one.prefix}{max(one.first, other.first)} to {one.prefix}{min(one.last, other.last)}"
    return ""


def _separated(prefix: str) -> str:
    """Return a prefix as it is compared: whichever sign separates its parts."""
    return re.sub(r"[\W_]+", "-", prefix).strip("-")


def _plain(name: str) -> str:
    """Return a name as it is compared: its letters and digits alone."""
    return "".join(each for each in name.casefold() if each.isalnum())


def same_registry(one: str, other: str) -> bool:
    """Whether two names are those of one series of numbers: `WREGIS` and `WREGIS (WECC)`, `HKNR` and `NECS`."""
    words = [[_plain(word) for word in re.split(r"[\s/,;()]+", name) if _plain(word)] for name in (one, other)]
    some, others = map(frozenset, words)
    if some & _EUROPEAN and others & _EUROPEAN:
        return True
    initials = {"".join(word[0] for word in name_words) for name_words in words if name_words[1:]}
    return bool(some and others) and (
        some <= others or others <= some or _plain(one) == _plain(other) or bool(initials & {_plain(one), _plain(other)})
    )


def refuse_double_use(retirements: Iterable[Retirement]) -> tuple[str, ...]:
    """Check that no certificate counts twice, over all sites and periods.

    One retirement may serve several contracts, such as two months of a year, if each lists its own serial numbers.

    Returns:
        A warning for each pair of contracts that share serial numbers under names of different registries.

    Raises:
        ValueError: two contracts share serial numbers, or share a retirement without serial numbers; the message names both.
    """
    previous: list[Retirement] = []
    doubts = []
    for each in retirements:
        key = _plain(each.retirement)
        for other in previous if key else ():
            if not other.retirement:
                continue
            same = key == _plain(other.retirement)
            if same and not (each.serials and other.serials):
                raise ValueError(
                    f"{other.owner} and {each.owner} have the same retirement {each.retirement!r}: a certificate counts only "
                    "once; list the serial numbers of each in serials"
                )
            if not (shared := overlap(each.serials, other.serials)):
                continue
            if same_registry(each.registry, other.registry):
                raise ValueError(
                    f"{other.owner} and {each.owner} have the same certificates {shared}: a certificate counts only once"
                )
            doubts.append(
                f"{other.owner} and {each.owner} have the same serial numbers {shared}, in registries {other.registry!r} and "
                f"{each.registry!r}; check that these are two registries"
            )
        previous.append(each)
    return tuple(doubts)
