"""A page of the docs with a generated part between two marker lines."""


def replaced(page: str, begin: str, end: str, fresh: str) -> str:
    """The page with `fresh` between the two markers, which stay.

    Raises:
        ValueError: the page has no markers.
    """
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"the page has no lines {begin.strip()} and {end.strip()}")
    return before + begin + fresh + end + after
