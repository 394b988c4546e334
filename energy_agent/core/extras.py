"""How to install the libraries of an optional feature: one text for all messages, as Wattlens is not in a package index yet."""


def install_hint(extra: str) -> str:
    """Return the command that installs an extra.

    >>> install_hint("signing")
    "in a clone of Wattlens: pip install '.[signing]'"
    """
    return f"in a clone of Wattlens: pip install '.[{extra}]'"
