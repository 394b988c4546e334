"""Commands that the benchmark of the quick start takes from the documentation; the run itself needs a cluster and minutes."""

from benchmarks.quick_start import commands


def test_commands_of_the_page_are_those_of_this_cluster() -> None:
    look, set_up, see, annotate, *_ = commands("kubernetes.md")
    assert all(line.startswith("kubectl ") for line in look)
    assert any(line.startswith("helm install wattlens ") for line in set_up)
    assert see
    assert any("--namespace serving patch deployment chat" in line for line in annotate)
    lines = [line for block in (look, set_up, see, annotate) for line in block]
    assert not [line for line in lines if "REGISTRY" in line or "NAMESPACE" in line or line.startswith("docker ")]
