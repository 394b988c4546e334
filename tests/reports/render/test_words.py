"""The renderer's words are in every language, with the fields of the English ones."""

import string

import pytest

from reports.language import LANGUAGES, say_in
from reports.render.words import WORDS, words_in


def fields(template: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


@pytest.mark.parametrize("language", [one for one in LANGUAGES if one != "en"])
def test_every_word_is_translated_and_keeps_its_fields(language: str) -> None:
    said = words_in(say_in(language))
    assert set(said) == set(WORDS)
    for message, translated in said.items():
        assert translated != message
        assert fields(translated) == fields(message)


def test_english_says_itself() -> None:
    assert words_in(say_in("en")) == {message: message for message in WORDS}
