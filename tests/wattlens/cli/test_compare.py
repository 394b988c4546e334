"""`wattlens compare` on saved runs with tokens: results with different loads and GPUs, single runs, and refused files."""

import copy
import json

import pytest

from tests.support import said_here


def saved_run(joules=1000.0, tokens=5000, boards=("GPU-1",), running=32.0, **more):
    run = {
        "schema": "wattlens.measure/1", "seconds": 10.0, "joules": joules, "edge_joules": joules / 100, "simulated": False,
        "gain_uncertainty_ratio": 0.05, "labels": {"precision": "bf16"},
        "devices": {uuid: {"joules": joules / len(boards)} for uuid in boards},
        "tokens": {
            "moves": "step", "models": ["m"], "generation": tokens, "computed": tokens, "cached": 0, "processed": 2 * tokens,
            "running": running, "edge_generation": 0.0, "edge_processed": 0.0, "reason": "",
        },
    }  # fmt: skip
    run["tokens"] |= more.pop("tokens_more", {})
    return run | more


def compare(tmp_path, a, b, *options):
    """A run, or several, a side."""
    texts = []
    for name, side in (("a", a), ("b", b)):
        paths = [tmp_path / f"{name}{k}.json" for k in range(len(side))]
        for path, run in zip(paths, side, strict=True):
            path.write_text(run if isinstance(run, str) else json.dumps(run))
        texts.append(",".join(map(str, paths)))
    return said_here("compare", *options, *texts)


def compare_json(tmp_path, a, b):
    done = compare(tmp_path, a, b, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_groups_of_files_are_given_as_a_shell_expands_them(tmp_path):
    names = [f"{side}{n}" for side in "ab" for n in range(3)]
    for n, name in enumerate(names):
        (tmp_path / f"{name}.json").write_text(json.dumps(saved_run(1000.0 + n)))
    a, b = ([str(tmp_path / f"{name}.json") for name in half] for half in (names[:3], names[3:]))
    asked = json.loads(said_here("compare", "--json", ",".join(a), ",".join(b)).stdout)
    assert asked["runs"] == [3, 3]
    for words in ([*a, "--", *b], ["--baseline", *a, "--", *b], [*b, "--baseline", *a], [*a, "--", *b, "--json"]):
        options = [] if "--json" in words else ["--json"]
        assert json.loads(said_here("compare", *options, *words).stdout) == asked
    for words in ([*a, *b], a[:1], [], [*a, "--"], ["--baseline", *a], [*a, "--", *b, "--", *a]):
        done = said_here("compare", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "expected A B or A... -- B..." in done.stderr


def test_one_run_a_side_on_the_same_board_has_the_edges_interval(tmp_path):
    output = compare_json(tmp_path, [saved_run()], [saved_run(800.0, labels={"precision": "int8"})])
    for what in ("joules", "joules_per_token_generated", "joules_per_token_processed"):
        row = output[what]
        assert row["ratio"] == pytest.approx(0.8)
        assert row["lower"] == pytest.approx(0.8 * (1 - 0.01 * 2**0.5), rel=1e-3)
        assert row["upper"] == pytest.approx(0.8 * (1 + 0.01 * 2**0.5), rel=1e-3)
        assert row["shown"]
    assert "lower" not in output["seconds"]
    assert (output["interval"], output["runs"], output["labels"][1]) == ("of the measurement", [1, 1], {"precision": "int8"})
    text = compare(tmp_path, [saved_run()], [saved_run(800.0)]).stdout
    assert "B needs fewer joules per generated token" in text
    assert "the intervals cover measurement errors" in text
    assert "same GPUs: the gain errors of their sensors cancel" in text
    assert "warning" not in text


def test_on_other_boards_the_gains_are_in_the_interval(tmp_path):
    a, b = [saved_run()], [saved_run(950.0, boards=("GPU-2",))]
    output = compare_json(tmp_path, a, b)
    row = output["joules_per_token_generated"]
    assert row["lower"] == pytest.approx(0.95 * 0.95 / 1.05, rel=0.02)
    assert row["upper"] == pytest.approx(0.95 * 1.05 / 0.95, rel=0.02)
    assert not row["shown"]
    assert output["gain_factor"] == pytest.approx([0.95 / 1.05, 1.05 / 0.95])
    assert "on different GPUs" in compare(tmp_path, a, b).stdout


def test_several_runs_have_the_spread_between_them_and_gains_of_other_boards(tmp_path):
    a = [saved_run(j) for j in (990.0, 1000.0, 1010.0)]
    same = compare_json(tmp_path, a, [saved_run(j) for j in (690.0, 700.0, 710.0)])["joules_per_token_generated"]
    other = compare_json(tmp_path, a, [saved_run(j, boards=("GPU-2",)) for j in (690.0, 700.0, 710.0)])[
        "joules_per_token_generated"
    ]
    assert other["upper"] / other["ratio"] == pytest.approx(same["upper"] / same["ratio"] * 1.05 / 0.95)
    assert same["shown"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"running": 48.0}, "compare at equal load, because J/token changes 6-9 times"),
        ({"running": None}, "the batch size of a side is unknown"),
        ({"tokens_more": {"computed": 9000}}, "computed prompt tokens per generated token"),
        ({"tokens_more": {"cached": 3000}}, "cached prompt tokens per generated token"),
        ({"tokens_more": {"models": ["other"]}}, "the models differ: A m, B other"),
        ({"tokens_more": {"moves": "request"}}, "counts tokens when a request ends"),
        ({"joules": 2000.0}, "a constant offset error"),
    ],
)
def test_unfair_comparison_gives_a_warning(tmp_path, change, words):
    output = compare_json(tmp_path, [saved_run()], [saved_run(**change)])
    assert len(output["warnings"]) == 1
    assert words in output["warnings"][0]
    assert f"warning: {output['warnings'][0]}" in compare(tmp_path, [saved_run()], [saved_run(**change)]).stdout


@pytest.mark.parametrize("running", [32.0, 39.9, 25.7])
def test_loads_that_differ_by_a_quarter_at_most_are_equal(tmp_path, running):
    assert compare_json(tmp_path, [saved_run()], [saved_run(running=running)])["warnings"] == []


def test_batch_label_counts_as_batch_size(tmp_path):
    labelled = [saved_run(running=None, labels={"batch": text}) for text in ("32", "32")]
    assert compare_json(tmp_path, labelled[:1], labelled[1:])["warnings"] == []
    assert (
        "equal load" in compare_json(tmp_path, labelled[:1], [saved_run(running=None, labels={"batch": "64"})])["warnings"][0]
    )


def test_runs_without_tokens_compare_in_joules_and_say_why_not_in_tokens(tmp_path):
    bare, failed = (
        saved_run(),
        saved_run(tokens_more={"generation": None, "processed": None, "reason": "an engine started again"}),
    )
    del bare["tokens"]
    assert "joules_per_token_generated" not in compare_json(tmp_path, [bare], [bare])
    assert "has no tokens" in compare_json(tmp_path, [saved_run()], [bare])["joules_per_token_generated"]["reason"]
    output = compare(tmp_path, [saved_run()], [failed]).stdout
    assert "J/token generated cannot be compared: B: " in output
    assert "an engine started again" in output


def test_a_kind_of_tokens_that_no_run_counted_is_left_out(tmp_path):
    training = saved_run(tokens_more={"generation": None, "reason": ""})
    comparison = compare_json(tmp_path, [training], [training])
    assert "joules_per_token_processed" in comparison
    assert "joules_per_token_generated" not in comparison
    assert "cannot be compared" not in compare(tmp_path, [training], [training]).stdout
    one = compare_json(tmp_path, [saved_run()], [training])
    assert "generated tokens were not counted" in one["joules_per_token_generated"]["reason"]


def test_file_content_cannot_control_the_terminal(tmp_path):
    bad = "\x1b[2J\x9b1m\n"
    a, b = saved_run(tokens_more={"models": [bad]}), saved_run(tokens_more={"generation": None, "reason": bad, "models": ["m"]})
    done = compare(tmp_path, [a], [b])
    assert done.returncode == 0
    assert all(c.isprintable() or c == "\n" for c in done.stdout)
    assert compare(tmp_path, [saved_run() | {"joules": None, "reason": bad}], [b]).stderr.count("\n") == 1


def broken():
    for path, value in [
        (("devices", "GPU-1"), []),
        (("devices",), {f"GPU-{k}": {} for k in range(2000)}),
        (("labels",), {str(k): "x" for k in range(40)}),
        (("labels",), {"x": "\x1b[31m"}),
        (("labels",), 5),
        (("tokens",), 5),
        (("tokens", "models"), 7),
        (("gain_uncertainty_ratio",), 2),
        (("joules",), float("inf")),
        (("joules",), True),
        (("schema",), "other"),
    ]:
        run = copy.deepcopy(saved_run())
        inner = run
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        yield pytest.param(json.dumps(run), id=f"{'.'.join(path)}={str(value)[:12]}")
    yield pytest.param("[" * 100_000, id="deep")
    yield pytest.param("{}", id="empty")


@pytest.mark.parametrize("text", [*broken()])
def test_a_file_that_is_no_run_is_refused_in_a_line(tmp_path, text):
    done = compare(tmp_path, [text], [saved_run()])
    assert done.returncode == 2
    assert done.stderr.startswith("compare:") or "compare:" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "change", [{"joules": 0.0}, {"edge_joules": None}, {"edge_joules": 2000.0}, {"seconds": 0.0}, {"devices": {}}]
)
def test_missing_interval_is_reported_or_refused_without_traceback(tmp_path, change):
    done = compare(tmp_path, [saved_run(**change)], [saved_run()])
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stderr
    assert "nan" not in done.stdout


def test_count_below_its_edge_is_reported(tmp_path):
    output = compare_json(tmp_path, [saved_run(tokens_more={"edge_generation": 6000.0})], [saved_run()])
    assert "is uncertain by 6000" in output["joules_per_token_generated"]["reason"]


def folder_of(path, *joules, **more):
    path.mkdir()
    for number, value in enumerate(joules):
        (path / f"{number}.json").write_text(json.dumps(saved_run(float(value), **more)))
    return path


def test_a_difference_between_folders_is_shown_only_where_there_is_one(tmp_path):
    a, b = folder_of(tmp_path / "a", 1000, 1010, 990), folder_of(tmp_path / "b", 800, 810, 790)
    done = said_here("compare", a, b)
    assert done.returncode == 0
    assert "B needs fewer joules" in done.stdout
    assert "no difference shown in seconds" in done.stdout
    assert "no difference shown in joules" in said_here("compare", a, folder_of(tmp_path / "c", 700, 1300, 1000)).stdout
    row = json.loads(said_here("compare", "--json", a, b).stdout)["joules"]
    assert row["lower"] < 0.8 < row["upper"] < 1


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    """One run against several, simulated against real ones, and a run that is given twice, by whatever path."""
    a, b = folder_of(tmp_path / "a", 1000, 1010), folder_of(tmp_path / "b", 800, 810)
    one, simulated = folder_of(tmp_path / "one", 1000), folder_of(tmp_path / "s", 1000, 1010, simulated=True)
    first = b / "0.json"
    for sides, words in (
        ((a, one), "expected two or more runs on each side, or one on each"),
        ((a, simulated), "cannot be compared"),
        ((f"{first},{first}", a), "is given twice"),
        ((a, a), "is given twice"),
        ((b, f"{first},{b}/../b/0.json"), "is given twice"),
    ):
        done = said_here("compare", *sides)
        assert (done.returncode, words in done.stderr) == (2, True)
