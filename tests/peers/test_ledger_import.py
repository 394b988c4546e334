"""`wattlens ledger import` from a real Prometheus whose samples were put there by promtool, with their real time stamps.

The truth is the counter that the test itself makes: a power for every five seconds, summed in whole mJ. What Prometheus was
given of it is what a scrape would have seen: with outages, lost scrapes, resets, replicas, pods that come and go.
"""

import json
import random
import re
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import pytest

from energy_agent.core.boundary import UNBOUNDED
from energy_agent.core.energy import Method, State, WorkloadFacts
from energy_agent.ledger import chain
from energy_agent.ledger.history_import.segments import MARK
from energy_agent.ledger.rows.kinds import Cell, DeviceFacts, GapRow
from energy_agent.ledger.segments import segment
from energy_agent.ledger.signing import KEY_FILE, open_signer
from energy_agent.ledger.summary import bounds
from tests.peers.prometheus_blocks import Text, prometheus, scrapes
from wattlens.cli import main

pytestmark = [pytest.mark.prometheus, pytest.mark.timeout(360)]

T0 = 1_767_225_600  # 2026-01-01T00:00Z
HOUR, DAY, S = 3_600, 86_400, 10**9
ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
H100, H100_LIMIT_W = "NVIDIA H100 80GB HBM3", 700
STEP = 5


class Board:
    """A counter in mJ that begins at `at_mj` at T0 - 1 d; the power of each five seconds is a whole number of W."""

    def __init__(self, seed, at_mj=123_456_789):
        self._seed, self._at_mj = seed, at_mj

    @cached_property
    def _watts(self):
        draw = random.Random(self._seed)
        return [draw.randrange(70, 690) for _ in range(8 * DAY // STEP)]

    @cached_property
    def _sums(self):
        return list(accumulate((watts * STEP * 1_000 for watts in self._watts), initial=self._at_mj))

    def mj(self, t_ms):
        """The counter at an instant, in whole mJ."""
        since = t_ms - (T0 - DAY) * 1_000
        step, rest = divmod(since, STEP * 1_000)
        return self._sums[step] + self._watts[step] * rest


def labels(node, uuid, **more):
    """What dcgm-exporter 3.3 and a scrape give a series; from the page in NVIDIA/dcgm-exporter issue 58."""
    return {
        "gpu": "0", "UUID": uuid, "device": "nvidia0", "modelName": H100, "Hostname": node,
        "instance": f"{node}:9400", "job": "dcgm",
    } | more  # fmt: skip


def day(number):
    return f"2026-01-{1 + number:02d}"


A, B, C, D, E, F, G, H = (Board(seed) for seed in range(8))
OUTAGES = [(T0 + at * HOUR, T0 + (at + 3) * HOUR) for at in (5, 20, 33, 46, 61)]
LOST = random.Random(99)
RESETS = [T0 + 7 * HOUR + 3, T0 + 30 * HOUR + 11]


def in_outage(t_ms):
    return any(first * 1_000 <= t_ms < last * 1_000 for first, last in OUTAGES)


def with_resets(t_ms):
    """Board C's counter, which was set to 0 at the instants of RESETS."""
    before = [at for at in RESETS if at * 1_000 <= t_ms]
    return C.mj(t_ms) - (C.mj(before[-1] * 1_000) if before else 0)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    text, end = Text(), T0 + 3 * DAY
    all_scrapes = list(scrapes(T0 - HOUR, end + HOUR))
    text.add(ENERGY, labels("outages", "GPU-a"), [(t, A.mj(t)) for t in all_scrapes if not in_outage(t)])
    text.add(ENERGY, labels("lossy", "GPU-b"), [(t, B.mj(t)) for t in all_scrapes if LOST.random() >= 0.1])
    text.add(ENERGY, labels("resets", "GPU-c"), [(t, with_resets(t)) for t in all_scrapes])
    for replica, offset in (("one", 0), ("two", 7_300)):
        away = (T0 + 9 * HOUR, T0 + 13 * HOUR) if replica == "one" else (T0 + 40 * HOUR, T0 + 47 * HOUR)
        mine = [t for t in scrapes(T0 - HOUR, end + HOUR, offset_ms=offset) if not away[0] * 1_000 <= t < away[1] * 1_000]
        text.add(ENERGY, labels("twice", "GPU-d", replica=replica), [(t, D.mj(t)) for t in mine])
    changes = [(T0 - HOUR, {}), (T0 + 2 * HOUR, {"namespace": "ml", "pod": "train-0", "container": "main"}),
               (T0 + 9 * HOUR, {"namespace": "ml", "pod": "train-1", "container": "main"}), (T0 + 30 * HOUR, {})]  # fmt: skip
    for (first, pod), (last, _) in zip(changes, [*changes[1:], (end + HOUR, {})], strict=True):
        text.add(ENERGY, labels("pods", "GPU-e", **pod), [(t, E.mj(t)) for t in scrapes(first, last)])
    watts = [(t, (F.mj(t + 500) - F.mj(t - 500)) / 1_000) for t in scrapes(T0, T0 + DAY)]
    text.add(
        "DCGM_FI_DEV_POWER_USAGE", labels("power", "GPU-f"), [w for w in watts if not 6 * HOUR <= w[0] / 1_000 - T0 < 7 * HOUR]
    )
    unknown = labels("strange", "GPU-g", modelName="NVIDIA Prototype")
    text.add(
        ENERGY,
        unknown,
        [(t, G.mj(t) - (G.mj((T0 + HOUR) * 1_000) if t >= (T0 + HOUR) * 1_000 else 0)) for t in scrapes(T0, T0 + DAY)],
    )
    shapes(text)
    with prometheus(tmp_path_factory.mktemp("prometheus"), text) as address:
        yield address


def shapes(text):
    """Add six hours of GPUs whose labels differ from those of a single exporter with a single GPU."""
    six, half = scrapes(T0, T0 + 6 * HOUR + 15), (T0 + 3 * HOUR) * 1_000
    again = [(t, H.mj(t) - (H.mj((T0 + HOUR) * 1_000) if t >= (T0 + HOUR) * 1_000 else 0)) for t in six]
    prototype = labels("limited", "GPU-h", modelName="NVIDIA Prototype")
    text.add(ENERGY, prototype, again)
    text.add("DCGM_FI_DEV_POWER_MGMT_LIMIT", prototype, [(t, 450 if t < half else 500) for t in six])
    old, new = labels("renamed", "GPU-i"), labels("renamed", "GPU-i")
    new["hostname"] = new.pop("Hostname")  # as dcgm-exporter did from one version to the next
    text.add(ENERGY, old, [(t, H.mj(t)) for t in six if t < half])
    text.add(ENERGY, new, [(t, H.mj(t)) for t in six if t >= half])
    target = {"namespace": "gpu-operator", "pod": "exporter-x7", "container": "exporter"}  # without honor_labels
    scraped = labels("operator", "GPU-j") | target
    text.add("up", {"instance": scraped["instance"], "job": "dcgm", **target}, [(t, 1) for t in six])
    text.add(ENERGY, scraped, [(t, H.mj(t)) for t in six if t < half])
    ours = {"exported_namespace": "ml", "exported_pod": "train-0", "exported_container": "main"}
    text.add(ENERGY, scraped | ours, [(t, H.mj(t)) for t in six if t >= half])
    for part, pod in (("1", {"namespace": "ml", "pod": "a"}), ("2", {"namespace": "ml", "pod": "b"})):
        text.add(ENERGY, labels("sliced", "GPU-k", GPU_I_ID=part, GPU_I_PROFILE="3g.40gb", **pod), [(t, H.mj(t)) for t in six])
    for port in ("9400", "9401"):
        text.add(ENERGY, labels("beside", "GPU-l", instance=f"beside{port}:{port}"), [(t, H.mj(t)) for t in six])


SIX = "2026-01-01T06:00"


def imported(url, out, *more, start="2026-01-01", end="2026-01-04"):
    command = ["ledger", "import", "--prometheus", url, "--source", "dcgm", "--from", start, "--to", end, "--out", str(out)]
    assert main([*command, *more]) == 0
    return rows_of(out)


def rows_of(out):
    return [row for path in segment.list_files(out) for row in segment.read(path).rows]


def energy(rows):
    return sum(row.energy_uj for row in rows if isinstance(row, Cell))


def between(board, first_s, last_s):
    """The board's true energy in uJ."""
    return (board.mj(last_s * 1_000) - board.mj(first_s * 1_000)) * 1_000


def whole(out):
    """The chain is whole, as `ledger verify` sees it."""
    report = chain.verify([out])
    assert report.ok, report.faults
    assert report.files
    return report


def test_five_outages_of_three_hours_change_the_total_by_nothing(url, tmp_path):
    rows = imported(url, tmp_path / "out", "--node", "outages")
    whole(tmp_path / "out")
    truth = between(A, T0, T0 + 3 * DAY)
    # Every joule between two scrapes is there; the edges of the time are at scrapes, so that the cells are the truth itself.
    assert energy(rows) == truth
    assert abs(energy(rows) - truth) * 10_000 < truth  # the required accuracy: 0.01 %
    bridged = sum(r.energy_uj for r in rows if isinstance(r, Cell) and r.method is Method.BRIDGED)
    assert bridged == sum(between(A, first - 15, last) for first, last in OUTAGES)
    assert {r.state for r in rows if isinstance(r, Cell)} == {State.UNKNOWN_OWNER}  # nothing names a holder
    assert not [r for r in rows if isinstance(r, GapRow)]


def test_the_documented_command_imports_everything_from_the_first_sample_on(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "dcgm.md").read_text()
    (words,) = re.findall(r"`wattlens (ledger import [^`]*)`", page)
    command = [url if word == "URL" else word for word in words.split()]
    assert main([*command, "--node", "outages", "--to", "2026-01-02"]) == 0
    assert energy(rows_of(tmp_path / "imported")) == between(A, T0 - HOUR, T0 + DAY)
    whole(tmp_path / "imported")


def test_lost_scrapes_change_the_total_by_what_the_edges_leave_open(url, tmp_path):
    rows = imported(url, tmp_path / "out", "--node", "lossy")
    truth = between(B, T0, T0 + 3 * DAY)
    assert abs(energy(rows) - truth) * 10_000 < truth
    device_bounds = bounds(rows, device="GPU-b")
    assert device_bounds.low_uj <= truth <= device_bounds.high_uj
    assert device_bounds.edge_uj < truth // 1_000  # and the bound is narrow: what 700 W x 1.2 draw in 30 s, at two edges
    assert device_bounds.systematic_uj * 20 >= device_bounds.energy_uj  # 5 % if no series states the gain


def test_a_reset_is_a_fact_and_what_it_hid_is_a_gap(url, tmp_path, capsys):
    rows = imported(url, tmp_path / "out", "--node", "resets")
    truth = between(C, T0, T0 + 3 * DAY)
    hidden = 0
    for at in RESETS:
        before = at - (at - (T0 - HOUR)) % 15  # the last scrape that saw the old counter
        hidden += between(C, before, at)
    assert energy(rows) == truth - hidden
    gaps = [row for row in rows if isinstance(row, GapRow)]
    assert [row.reason for row in gaps] == ["counter reset"] * 2
    assert sum(row.bound_uj for row in gaps) >= hidden
    # at most what the board can draw in a scrape's time and two ticks of its counter
    assert all(row.bound_uj <= H100_LIMIT_W * 12 // 10 * 15_200_000 for row in gaps)
    assert "2 counter restarts" in capsys.readouterr().err


def test_gap_without_power_limit_is_unbounded_and_warns(url, tmp_path, capsys):
    rows = imported(url, tmp_path / "out", "--node", "strange", end=day(1))
    (gap,) = [row for row in rows if isinstance(row, GapRow)]
    assert (gap.reason, gap.bound_uj) == (UNBOUNDED + "counter reset", 0)
    assert "--max-power-w" in capsys.readouterr().err
    rows = imported(url, tmp_path / "other", "--node", "strange", "--max-power-w", "600", end=day(1))
    (gap,) = [row for row in rows if isinstance(row, GapRow)]
    assert gap.reason == "counter reset"
    # The counter began at 0 on the instant of a scrape, which shows nothing yet: 15 s and two ticks at 600 W x 1.2.
    assert gap.bound_uj == 720 * 15_200_000


def test_of_two_replicas_one_is_taken_and_none_is_averaged(url, tmp_path, capsys):
    rows = imported(url, tmp_path / "out", "--node", "twice")
    truth = between(D, T0, T0 + 3 * DAY)
    assert abs(energy(rows) - truth) * 10_000 < truth
    assert "several series at the same time" in capsys.readouterr().err
    # Each was away for hours, and never both: nothing had to be bridged but where one takes over from the other.
    bridged = sum(r.energy_uj for r in rows if isinstance(r, Cell) and r.method is Method.BRIDGED)
    assert bridged < truth // 100


def test_energy_belongs_to_a_pod_only_between_its_samples(url, tmp_path):
    rows = imported(url, tmp_path / "out", "--node", "pods")
    used = {}
    for row in rows:
        if isinstance(row, Cell):
            used[row.workload, row.state] = used.get((row.workload, row.state), 0) + row.energy_uj
    first, second, third = T0 + 2 * HOUR, T0 + 9 * HOUR, T0 + 30 * HOUR
    # From its first scrape to its last: the scrape's time in which it came or went is nobody's.
    train_0, train_1 = between(E, first, second - 15), between(E, second, third - 15)
    assert used["import:ml/train-0", State.ACTIVE] == train_0
    assert used["import:ml/train-1", State.ACTIVE] == train_1
    assert used["", State.UNKNOWN_OWNER] == between(E, T0, T0 + 3 * DAY) - train_0 - train_1
    assert len(used) == 3
    gpu_ns = sum(row.gpu_ns for row in rows if isinstance(row, Cell) and row.workload == "import:ml/train-0")
    assert gpu_ns == (second - 15 - first) * S
    facts = {row.workload: row for row in rows if isinstance(row, WorkloadFacts)}
    assert facts["import:ml/train-0"].labels == {"namespace": "ml", "pod": "train-0", "imported": "dcgm"}


def test_power_alone_is_integrated_and_its_hole_is_a_gap(url, tmp_path):
    rows = imported(url, tmp_path / "out", "--node", "power", end=day(1))
    assert {row.method for row in rows if isinstance(row, Cell)} == {Method.INTEGRATED}
    (first, last) = (T0 + 6 * HOUR - 15, T0 + 7 * HOUR)
    gaps = [row for row in rows if isinstance(row, GapRow)]
    assert {row.reason for row in gaps} == {"no energy counter and no power readings"}
    assert (min(row.start_ns for row in gaps), max(row.end_ns for row in gaps)) == (first * S, last * S)
    expected_uj = between(F, T0, T0 + DAY - 15) - between(F, first, last)
    assert abs(energy(rows) - expected_uj) < expected_uj // 50  # one sample of power in 15 s of a load that changes each 5 s
    assert sum(row.bound_uj for row in gaps) > between(F, first, last)


def test_segments_say_that_they_were_imported_and_so_do_compacted_days(url, tmp_path, capsys):
    out = tmp_path / "out"
    rows = imported(url, out, "--node", "outages")
    headers = [segment.read(path).header for path in segment.list_files(out)]
    assert {header.boot_id for header in headers} == {"import:prometheus:dcgm"}
    assert all(header.boot_id.startswith(MARK) for header in headers)
    assert {(header.cluster, header.node, header.simulated) for header in headers} == {("imported", "outages", False)}
    (device,) = {(row.uuid, row.sku, row.gain_ppm) for row in rows if isinstance(row, DeviceFacts)}
    assert device == ("GPU-a", H100, 50_000)
    (fact,) = {(row.workload, row.kind, row.labels["from"]) for row in rows if isinstance(row, WorkloadFacts)}
    assert fact == ("GPU-a", "import", "dcgm")
    capsys.readouterr()
    assert main(["ledger", "verify", str(out)]) == 0
    assert "imported/outages: 3 segments (0 to 2)" in capsys.readouterr().out
    days = tmp_path / "days"
    assert main(["ledger", "compact", str(out), "--out", str(days), "--site", "lab", "--json"]) == 0
    stated = json.loads(capsys.readouterr().out)
    assert sum(int(each["energy_uj"]) for each in stated) == between(A, T0, T0 + 3 * DAY)
    assert main(["ledger", "export", str(days), "--sum", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["energy_uj"] == between(A, T0, T0 + 3 * DAY)


def test_imports_that_adjoin_are_the_import_of_both_and_nothing_is_booked_twice(url, tmp_path, capsys):
    out, once, end = tmp_path / "out", tmp_path / "once", "2026-01-03T06:00"
    imported(url, out, "--node", "outages", end="2026-01-01T06:00")  # in the midst of an outage
    imported(url, out, "--node", "outages", start="2026-01-01T06:00", end=end)
    (import_chain,) = whole(out).chains
    assert (import_chain.first, import_chain.last) == (0, 3)  # one, and three of the three days of the other
    assert energy(rows_of(out)) == energy(imported(url, once, "--node", "outages", end=end)) == between(A, T0, T0 + 54 * HOUR)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    assert main(["ledger", "import", "--prometheus", url, "--source", "dcgm", "--from", day(1), "--to", day(3),
                 "--out", str(out), "--node", "outages"]) == 2  # fmt: skip
    message = capsys.readouterr().err
    assert "imported/outages" in message
    assert "2026-01-02T00:00Z" in message
    assert message.count("\n") == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    # Another name for the same node does not help: the board is known by its UUID.
    assert main(["ledger", "import", "--prometheus", url, "--source", "dcgm", "--from", day(1), "--to", day(3),
                 "--out", str(out), "--node", "outages", "--cluster", "other"]) == 2  # fmt: skip
    assert "GPU-a from 2026-01-02T00:00Z" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_an_import_is_signed_with_the_key_that_is_given(url, tmp_path, capsys):
    signer, _ = open_signer(tmp_path)
    out, key = tmp_path / "out", ("--signing-key", str(tmp_path / KEY_FILE))
    imported(url, out, "--node", "outages", *key, end="2026-01-02")
    (import_chain,) = whole(out).chains
    assert (import_chain.key, import_chain.unsigned) == (signer.key, 0)
    assert energy(rows_of(out)) == between(A, T0, T0 + DAY)
    capsys.readouterr()
    options = ["--prometheus", url, "--source", "dcgm", "--node", "outages", "--from", day(1), "--to", day(2)]
    command = ["ledger", "import", *options, "--out", str(out)]
    assert main(command) == 2  # an unsigned end of a signed chain would be a fault
    assert signer.key[:16] in capsys.readouterr().err
    assert main([*command, *key]) == 0
    (import_chain,) = whole(out).chains
    assert (import_chain.last > 0, import_chain.key, import_chain.unsigned) == (True, signer.key, 0)


def test_a_dry_run_counts_and_writes_nothing(url, tmp_path, capsys):
    out = tmp_path / "out"
    assert imported(url, tmp_path / "real", "--node", "outages") is not None
    capsys.readouterr()
    command = [
        "ledger",
        "import",
        "--prometheus",
        url,
        "--source",
        "dcgm",
        "--from",
        day(0),
        "--to",
        day(3),
        "--out",
        str(out),
    ]
    assert main([*command, "--node", "outages", "--dry-run", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["written"], answer["nodes"][0]["energy_uj"]) == (False, str(between(A, T0, T0 + 3 * DAY)))
    assert not out.exists()


def test_a_limit_that_is_a_series_bounds_gaps_by_the_most_that_it_was(url, tmp_path):
    rows = imported(url, tmp_path / "out", "--node", "limited", end=SIX)
    (gap,) = [row for row in rows if isinstance(row, GapRow)]
    assert gap.bound_uj == 500 * 12 // 10 * 15_200_000


def test_a_label_that_was_renamed_leaves_the_node_and_its_counter_what_they_are(url, tmp_path):
    rows = imported(url, tmp_path / "out", "--node", "renamed", end=SIX)
    assert energy(rows) == between(H, T0, T0 + 6 * HOUR)
    assert {row.method for row in rows if isinstance(row, Cell)} == {Method.COUNTER}


def test_the_exporters_own_pod_holds_nothing(url, tmp_path):
    rows = imported(url, tmp_path / "out", "--node", "operator", end=SIX)
    used = {}
    for row in rows:
        if isinstance(row, Cell):
            used[row.workload] = used.get(row.workload, 0) + row.energy_uj
    half = T0 + 3 * HOUR
    assert used == {"": between(H, T0, half), "import:ml/train-0": between(H, half, T0 + 6 * HOUR)}


def test_a_board_in_mig_mode_is_one_board_and_nobodys_alone(url, tmp_path):
    rows = imported(url, tmp_path / "out", "--node", "sliced", end=SIX)
    assert energy(rows) == between(H, T0, T0 + 6 * HOUR)
    assert {(row.workload, row.state) for row in rows if isinstance(row, Cell)} == {("", State.UNKNOWN_OWNER)}


def test_gpu_of_two_exporters_is_recorded_once(url, tmp_path, capsys):
    rows = imported(url, tmp_path / "out", "--node", "beside", end=SIX)
    assert energy(rows) == between(H, T0, T0 + 6 * HOUR)
    capsys.readouterr()
    # Named by their instances they would be two nodes with one board: refused, and nothing is written.
    out = tmp_path / "instances"
    command = [
        "ledger",
        "import",
        "--prometheus",
        url,
        "--source",
        "dcgm",
        "--from",
        "2026-01-01",
        "--to",
        SIX,
        "--out",
        str(out),
    ]
    assert main([*command, "--node-label", "instance", "--match", "UUID=GPU-l"]) == 2
    message = capsys.readouterr().err
    assert "imported/beside9401: GPU-l from 2026-01-01T00:00Z to 2026-01-01T06:00Z is also in imported/beside9400" in message
    assert segment.list_files(out) == []
    assert imported(url, out, "--node-label", "instance", "--match", "instance=beside9400:9400", end=SIX)


def test_a_node_that_is_not_there_is_named_with_some_that_are(url, tmp_path, capsys):
    command = [
        "ledger",
        "import",
        "--prometheus",
        url,
        "--from",
        "2026-01-01",
        "--to",
        "2026-01-02",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main([*command, "--source", "dcgm", "--node", "nowhere"]) == 1
    assert "node not found: nowhere (dcgm series of this period); nodes found: " in capsys.readouterr().err
    assert main([*command, "--source", "dcgm", "--match", "job=another"]) == 1
    assert "no series (dcgm series of this period)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.smoke
def test_slices_of_any_size_and_a_server_that_bounds_queries_give_the_same_cells(tmp_path):
    board, text, uuid = Board(21), Text(), "GPU-s"
    text.add(ENERGY, labels("small", uuid), [(t, board.mj(t)) for t in scrapes(T0 - HOUR, T0 + DAY)])
    with prometheus(tmp_path, text, "--query.max-samples=700") as url:
        cells = {}
        for name in ("1h", "6h"):  # 6 h are 1,440 samples, more than the server gives at once
            rows = imported(url, tmp_path / name, "--slice", name, end="2026-01-01T12:00")
            cells[name] = sorted((r.cell_start_ns, r.energy_uj) for r in rows if isinstance(r, Cell))
    assert cells["1h"] == cells["6h"]
    assert sum(uj for _, uj in cells["1h"]) == between(board, T0, T0 + 12 * HOUR)
