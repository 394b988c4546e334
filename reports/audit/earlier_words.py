"""Methods and reasons in the facts of earlier versions, in the present words.

A rewording is not a change of a figure, so editions are compared in the present words.
"""

import json
import re
from functools import cache
from importlib.resources import files


def in_present_words(text: str) -> str:
    """Return a method or a reason of any version in the present words."""
    words, forms = _replacements()
    for earlier, present in words.items():
        text = text.replace(earlier, present)
    for form, present in forms:
        text = form.sub(present, text)
    return text


@cache
def _replacements() -> tuple[dict[str, str], tuple[tuple[re.Pattern[str], str], ...]]:
    """Return phrases that were replaced, and patterns of sentences whose fields moved."""
    replacements = json.loads(files("reports").joinpath("data/earlier_words.json").read_text("utf-8"))
    return dict(replacements["words"]), tuple((re.compile(form), present) for form, present in replacements["forms"])
