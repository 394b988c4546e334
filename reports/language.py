"""What the report says, in the reader's language: English sentences in the code, other languages in data files beside.

A message is an English template such as "{share} of the period's device time". `reports/languages/zh.json` maps it to its
translation; tests hold that every message of the sections is there and keeps its fields. What a file of the user says (names of
teams, models) is never translated.

Facts hold English sentences too: why a figure is absent, what a part is called. They come filled in, so "no PUE of fra1" is
recognised by the form "no PUE of {site}" among `told`; a `reason` in it is translated in turn, and so is each of several
that "; " parts. A field of `OURS` holds a word of the code, such as the role of a meter, which `told` may have. One that has no
form stays as it is.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from energy_agent.core.errors import UsageError

LANGUAGES = ("en", "zh")
OURS = frozenset({"role", "position", "boundary", "basis", "other"})
_TOLD_MOST = 2_000
_FIELD = re.compile(r"\\{(\w+)\\}")

Form = tuple[re.Pattern[str], str]
"""What a sentence of the facts looks like, and its translation, with the same fields."""


@dataclass(frozen=True, slots=True)
class Say:
    """A language. Call it with an English template and its fields, or with a sentence of the facts."""

    language: str = "en"
    messages: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, str] = field(default_factory=dict)
    forms: Sequence[Form] = ()

    def __call__(self, template: str, **values: object) -> str:
        """The template in this language, with its fields filled in."""
        said = self.messages.get(template)
        if said is None:
            said = template if values else self._told(template)
        return said.format(**values) if values else said

    def _told(self, text: str) -> str:
        if text in self.told:
            return self.told[text]
        for form, said in self.forms if len(text) <= _TOLD_MOST else ():
            if match := form.fullmatch(text):
                return said.format(**{k: self._field(k, v) for k, v in match.groupdict().items()})
        parts = text.split("; ")
        said_parts = [self._told(part) for part in parts] if parts[1:] else parts
        return text if said_parts == parts else "\uff1b".join(said_parts)

    def _field(self, name: str, text: str) -> str:
        if name == "reason":
            return self._told(text)
        return self.told.get(text, text) if name in OURS else text


@cache
def say_in(language: str) -> Say:
    """The language of that name.

    Raises:
        UsageError: there is none.
    """
    if language == "en":
        return Say()
    if language not in LANGUAGES:
        raise UsageError(f"--language {language[:40]}: there are: {', '.join(LANGUAGES)}")
    text = files("reports").joinpath(f"languages/{language}.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, str]] = json.loads(text)
    told = found["told"]
    narrow = sorted((form for form in told if "{" in form), key=lambda form: (-len(_FIELD.sub("", re.escape(form))), form))
    return Say(language, found["messages"], told, tuple(_form(form, told[form]) for form in narrow))


def _form(form: str, said: str) -> Form:
    """A field is any text without a semicolon, which parts sentences; but a reason may be several."""
    looks = _FIELD.sub(lambda m: f"(?P<{m[1]}>{'.+' if m[1] == 'reason' else '[^;]+?'})", re.escape(form))
    return re.compile(looks, re.DOTALL), said
