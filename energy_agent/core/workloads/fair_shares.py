"""Choose who gives up a slot when too many are in use: the owner of the most slots. Pure."""

import heapq
from collections import deque
from collections.abc import Callable, Iterable


def first_of_largest(names: Iterable[str], owner: Callable[[str], str], count: int) -> list[str]:
    """Return `count` names, each the first of the owner that has the most left; an owner's names leave in their order."""
    by_owner: dict[str, deque[tuple[int, str]]] = {}
    for place, name in enumerate(names):
        by_owner.setdefault(owner(name), deque()).append((place, name))
    largest = [(-len(entries), entries[0][0], name) for name, entries in by_owner.items()]
    heapq.heapify(largest)
    leaving = []
    for _ in range(count):
        largest_owner = largest[0][2]
        entries = by_owner[largest_owner]
        leaving.append(entries.popleft()[1])
        heapq.heapreplace(largest, (-len(entries), entries[0][0] if entries else 0, largest_owner))
    return leaving
