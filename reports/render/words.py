"""The renderers' own words: English messages, and how they are said in the reader's language. Pure."""

from collections.abc import Callable, Mapping

from reports.render.charts.spoken import MESSAGES

SKIP = "Skip to the report"
CONTENTS = "Contents"
HOLDS = "Holds."
FAILS = "Does not hold."
LEFT_OUT = "Left out"
WHY = "Why"
NOT_IN = "Not in this report"

WORDS = (*MESSAGES, SKIP, CONTENTS, HOLDS, FAILS, LEFT_OUT, WHY, NOT_IN)
"""Every message; `reports/languages/` translates them."""


def words_in(say: Callable[[str], str]) -> dict[str, str]:
    """What `Document.words` has to be: each message in the language of `say`."""
    return {message: say(message) for message in WORDS}


def word(words: Mapping[str, str], message: str) -> str:
    """A message in the language of the document; English where it is not said."""
    return words.get(message, message)
