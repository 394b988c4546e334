"""Files of `wattlens init`: the short one works as it is, the long one has every option, each valid once uncommented."""

import re

import pytest
import yaml

from energy_agent.config.agent import Config, parse
from energy_agent.config.key_values import model_of
from energy_agent.config.template import EXAMPLES, starter, template


def uncomment(text: str) -> str:
    """The file with every option set."""
    return re.sub(r"^# ", "", text, flags=re.MULTILINE)


def test_the_short_file_is_the_defaults_and_its_examples_can_be_uncommented() -> None:
    text = starter("127.0.0.1:9479", ["", "a fact"])
    assert 15 <= len(text.splitlines()) <= 25
    assert parse(text.encode()) == Config()
    lines = text.splitlines()
    for key in ("tokens", "client"):
        start = lines.index(f"# {key}:")
        end = next((n for n in range(start, len(lines)) if not lines[n]), len(lines))
        changed = [*lines[:start], *(line.removeprefix("# ") for line in lines[start:end]), *lines[end:]]
        assert getattr(parse("\n".join(changed).encode()), key) != getattr(Config(), key)


def test_the_address_is_that_of_the_option() -> None:
    assert parse(starter("0.0.0.0:9999").encode()).web.listen == "0.0.0.0:9999"
    assert parse(template(listen="[::]:9999").encode()).web.listen == "[::]:9999"
    assert parse(template(listen="[::]:9999").encode()).model_copy(update={"web": Config().web}) == Config()


def test_the_long_file_sets_nothing_until_a_line_is_uncommented() -> None:
    text = template(["a fact"])
    assert all(line.startswith(("# ", "## ")) or line in ("", "##") for line in text.splitlines())
    assert parse(text.encode()) == Config()
    changed = text.replace("# ledger:", "ledger:").replace("#   keep_hours: 48", "  keep_hours: 49")
    assert parse(changed.encode()).ledger.keep_hours == 49


def _with_everything() -> dict[str, object]:
    document = yaml.safe_load(uncomment(template()))
    assert isinstance(document, dict)
    return document


def test_every_option_uncommented_is_valid_and_all_but_examples_are_defaults() -> None:
    parsed_config, default = parse(uncomment(template()).encode()), Config()

    def look(model, values, defaults, path=()) -> None:
        for name, field in model.model_fields.items():
            key = ".".join((*path, name))
            assert hasattr(values, name), key
            if key in EXAMPLES:
                assert getattr(values, name) != getattr(defaults, name), key
            elif (inner := model_of(field.annotation)) is not None:
                look(inner, getattr(values, name), getattr(defaults, name), (*path, name))
            else:
                assert getattr(values, name) == getattr(defaults, name), key

    look(Config, parsed_config, default)


@pytest.mark.parametrize("path", EXAMPLES)
def test_each_example_is_valid_by_itself(path: str) -> None:
    value = _with_everything()
    keys = [key for key in path.split(".") if key != "mapping"]  # an item of tokens has it
    for key in keys:
        value = value[key]  # type: ignore[assignment]
    assert value
    document: object = value
    for key in reversed(keys):
        document = {key: document}
    read: object = parse(yaml.safe_dump(document).encode())
    for key in keys:
        read = getattr(read, key)
    assert read


def test_every_option_is_there() -> None:
    text = uncomment(template())

    def look(model, path=()) -> None:
        for name, field in model.model_fields.items():
            assert f" {name}:" in text or f"\n{name}:" in text, (*path, name)
            if (inner := model_of(field.annotation)) is not None:
                look(inner, (*path, name))

    look(Config)
