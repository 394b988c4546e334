"""Text of other people's processes, servers and files, as a log or a terminal may show it. Pure."""


def printable(text: str) -> str:
    """Return the text as one line without control characters: nothing in it reaches a terminal as a command."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def printable_lines(text: str) -> str:
    """The same for text of several lines."""
    return "\n".join(map(printable, text.split("\n")))
