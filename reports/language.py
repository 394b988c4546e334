"""What the report says, in the reader's language: one file of texts for each language, by the same short ids.

`say("energy_by_site")` is a text of the report; `reports/languages/en.json` and `zh.json` have it under that id, with the same
fields. What a file of the user says (names of teams, models) is never translated.

Facts hold English sentences too: why a figure is absent, what a part is called. They come filled in, so `say.translate`
recognises "no PUE of fra1" by the form "no PUE of {site}" of en.json; a `reason` in it is translated in turn, and so is each
of several that "; " parts. A field of `OURS` holds a word of the code, such as the role of a meter. One that has no form stays
as it is.
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
RENDERER = "page."
"""How the ids begin of what a renderer says by itself."""
_TRANSLATED_MAX = 2_000
_FIELD = re.compile(r"\\{(\w+)\\}")

Form = tuple[re.Pattern[str], str]
"""What a sentence of the facts looks like, and its translation, with the same fields."""


@dataclass(frozen=True, slots=True)
class Translator:
    """A language. Call it with the id of a text and its fields.

    Args:
        language: its name.
        messages: id -> text.
        sentences: sentence of the facts -> its translation; none in English.
        forms: of sentences with fields, the most specific first.
    """

    language: str
    messages: Mapping[str, str]
    sentences: Mapping[str, str] = field(default_factory=dict)
    forms: Sequence[Form] = ()

    def __call__(self, message: str, **values: object) -> str:
        """A text of the report with its fields filled in."""
        return self.messages[message].format(**values)

    def text(self, name: str) -> str:
        """The text of an id; what is no id stays as it is."""
        return self.messages.get(name, name)

    @property
    def renderer(self) -> dict[str, str]:
        """What a renderer says by itself: id -> text."""
        return {name: text for name, text in self.messages.items() if name.startswith(RENDERER)}

    def translate(self, text: str | None) -> str:
        """A sentence of the facts in this language; "" for None."""
        if not text or text in self.sentences:
            return self.sentences.get(text or "", "")
        for form, translation in self.forms if len(text) <= _TRANSLATED_MAX else ():
            if match := form.fullmatch(text):
                return translation.format(**{k: self._field(k, v) for k, v in match.groupdict().items()})
        parts = text.split("; ")
        said_parts = [self.translate(part) for part in parts] if parts[1:] else parts
        return text if said_parts == parts else "\uff1b".join(said_parts)

    def _field(self, name: str, text: str) -> str:
        if name == "reason":
            return self.translate(text)
        return self.sentences.get(text, text) if name in OURS else text


@cache
def say_in(language: str) -> Translator:
    """Return the translator for a language.

    Raises:
        UsageError: the language is not supported.
    """
    if language not in LANGUAGES:
        raise UsageError(f"--language {language[:40]}: expected one of {', '.join(LANGUAGES)}")
    texts = texts_in(language)
    if language == "en":
        return Translator(language, texts["messages"])
    pairs = {english: texts[kind][name] for kind, named in texts_in("en").items() for name, english in named.items()}
    phrases = [texts_in("en")["facts"][name] for name in texts["facts"]]
    narrow = sorted((form for form in phrases if "{" in form), key=lambda form: (-len(_FIELD.sub("", re.escape(form))), form))
    return Translator(language, texts["messages"], pairs, tuple(_form(form, pairs[form]) for form in narrow))


def texts_in(language: str) -> dict[str, dict[str, str]]:
    """Return the texts of a language: the report's own (`messages`) and those for facts (`facts`), by ID."""
    texts: dict[str, dict[str, str]] = json.loads(files("reports").joinpath(f"languages/{language}.json").read_text("utf-8"))
    return texts


def _form(form: str, sentence: str) -> Form:
    """A field is any text without a semicolon, which parts sentences; but a reason may be several."""
    pattern = _FIELD.sub(lambda m: f"(?P<{m[1]}>{'.+' if m[1] == 'reason' else '[^;]+?'})", re.escape(form))
    return re.compile(pattern, re.DOTALL), sentence
