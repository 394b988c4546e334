"""The written configuration: it says nothing as it is, the defaults when every key is in force, and explains every key."""

from energy_agent.config.agent import Config, parse
from energy_agent.config.key_values import model_of
from energy_agent.config.template import in_force, template


def test_as_written_and_with_every_key_in_force_it_is_the_defaults() -> None:
    text = template(["a fact"])
    assert all(line.lstrip().startswith("#") or not line for line in text.splitlines())
    assert parse(text.encode()) == parse(in_force(text).encode()) == Config()
    assert sum(not line.lstrip().startswith("#") for line in in_force(text).splitlines() if line) > 20
    changed = in_force(text).replace("keep_hours: 48", "keep_hours: 49")
    assert parse(changed.encode()).ledger.keep_hours == 49


def test_every_key_is_there() -> None:
    text = template()

    def look(model, path=()) -> None:
        for name, field in model.model_fields.items():
            assert f"#{name}:" in text or f" {name}: " in text or f" {name}:\n" in text, (*path, name)
            if (inner := model_of(field.annotation)) is not None:
                look(inner, (*path, name))

    look(Config)


def test_an_example_can_be_put_into_force() -> None:
    lines = template().splitlines()
    start = next(n for n, line in enumerate(lines) if line == "#   tokens:")
    example = []
    for line in lines[start:]:
        if not line.startswith("#   "):
            break
        example.append(line.removeprefix("#   "))
    text = "\n".join(example).replace("workload: ...", "workload: vllm").replace("url: ...", "url: http://127.0.0.1:8000")
    (source,) = parse(text.encode()).tokens
    assert (source.workload, source.server) == ("vllm", "vllm")
