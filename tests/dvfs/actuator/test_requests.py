"""Whatever peers send, the actuator answers in one frame each, and the leases of others go on."""

import json
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dvfs.actuator.kill_switch import KillSwitch
from dvfs.actuator.lease import NS
from dvfs.actuator.records.history import ActuatorHistory, KnobChange
from dvfs.actuator.records.journal import ActuatorJournal
from dvfs.actuator.requests import Caller, Requests
from dvfs.actuator.wire import MAX_BYTES, Decoder, WireError, encode
from dvfs.types import DeviceLimits
from tests.doubles.actuator import FakeBoards, core_of
from tests.support import examples

LIMITS = DeviceLimits(frozenset({"power", "clock"}), (1005, 1980), (400_000, 650_000), "unlocked")
EMOJI = "\N{GRINNING FACE}" * 64
OPS = ("hello", "acquire", "set", "heartbeat", "release", "status", "history")


class Bench:
    """An actuator's requests over a journal and a history on disk; boards are a file."""

    def __init__(self, folder: Path, boards: int = 2) -> None:
        self.folder, self.now_s = folder, 0.0
        self.boards = FakeBoards.create(folder / "boards", boards)
        self.devices = [f"GPU-{i}" for i in range(boards)]
        self.start()

    def start(self) -> None:
        history = ActuatorHistory(self.folder / "history")
        self.journal = ActuatorJournal(self.folder / "journal")
        self.core = core_of(self.boards, self.journal, LIMITS, lambda: int(self.now_s * NS), did=history.add)
        self.core.restore_all()
        self.requests = Requests(self.core, history, KillSwitch([Path("/\udcff/off")]))

    def close(self) -> None:
        """Close its file: one for each example is more than a process may have open."""
        self.journal.close()

    def history(self) -> list[dict[str, Any]]:
        """All rows, page by page."""
        rows: list[dict[str, Any]] = []
        while page := self.ask(Caller(9, 9), "history", after=rows[-1]["number"] if rows else 0)["rows"]:
            rows += page
        return rows

    def ask(self, caller: Caller, op: str, **fields: object) -> dict[str, Any]:
        frame = self.requests.reply(caller, {"v": 1, "id": 1, "op": op, **fields})
        assert len(frame) <= MAX_BYTES + 4
        (reply,) = Decoder().feed(frame)
        return reply


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_release_of_64_devices_with_both_knobs_fits_and_lists_first_what_is_not_back(tmp_path: Path) -> None:
    bench, caller = Bench(tmp_path, boards=64), Caller(1, 10)
    bench.ask(caller, "hello", name=EMOJI)
    lease = bench.ask(caller, "acquire", devices=bench.devices)["lease"]
    for device in bench.devices:
        setting = {"sm_clock_max_mhz": 1200, "power_limit_mw": 500_000}
        assert bench.ask(caller, "set", lease=lease, device=device, setting=setting)["ok"]
    bench.boards.change("GPU-63", faults={"set_power_limit_mw": 4})
    page = bench.ask(caller, "status", offset=0)
    listed = [row["device"] for row in page["devices"]]
    while page["next"] is not None:
        page = bench.ask(caller, "status", offset=page["next"])
        listed += [row["device"] for row in page["devices"]]
    assert sorted(listed) == sorted(bench.devices)
    reply = bench.ask(caller, "release", lease=lease)
    assert reply["restored"][0][:2] == ["GPU-63", "power"]
    assert len(reply["restored"]) + reply["more"] == 128


def test_names_of_any_alphabet_are_cut_between_characters(bench: Bench) -> None:
    for number, name in enumerate((EMOJI, "a" + EMOJI[:63], "\u4e16" * 64, '"' * 64, "\\" * 64, "\x00\x1f" * 32)):
        caller = Caller(number, 4_194_304)
        holder = bench.ask(caller, "hello", name=name)["holder"]
        kept = holder.removesuffix("pid 4194304)").removesuffix(" (")
        assert holder == "pid 4194304" or (name.startswith(kept) and len(kept.encode()) > 60)


def test_history_rows_without_a_note_fit_and_damaged_ones_are_skipped(bench: Bench) -> None:
    did = KnobChange(0, "GPU-0", "power", "set", 500_000, "ok", f"{EMOJI} (pid 10)", "request")
    history = ActuatorHistory(bench.folder / "history")
    for _ in range(20):
        history.add(did)
    head = {"number": 21, "name": history.name}
    bad = ["[" * 4000, '{"number": NaN}', "\udc80"]
    bad += [json.dumps(head | change) for change in ({"holder": "x" * 5000}, {"number": 10**400})]
    with (bench.folder / "history").open("a", errors="surrogateescape") as file:
        file.write("\n".join(bad) + "\n")
    for _ in range(3):  # as after each restart
        bench.start()
        assert [row["number"] for row in bench.history()] == list(range(1, 21))


def test_a_row_with_the_longest_of_all_texts_fits_and_is_read_back(bench: Bench) -> None:
    texts = ("\u00e9" * 256, '"' * 256, "\\" * 256, EMOJI * 4, "a" * 256, "\x07" * 256)
    for number, text in enumerate(texts):
        caller = Caller(number, 4_194_304)
        bench.ask(caller, "hello", name=text[:64])
        lease = bench.ask(caller, "acquire", devices=bench.devices)["lease"]
        note = {"policy": text, "reason": text, "workload": text, "of a later version": [text]}
        for device in bench.devices:
            setting = {"sm_clock_max_mhz": 1200, "power_limit_mw": 500_000}
            assert bench.ask(caller, "set", lease=lease, device=device, setting=setting, note=note)["ok"]
        assert bench.ask(caller, "release", lease=lease, reason=text)["ok"]
    bench.start()
    rows = bench.history()
    assert [row["number"] for row in rows] == list(range(1, 8 * len(texts) + 1))
    for row, text in zip(rows, (text for text in texts for _ in range(8)), strict=True):
        for kept in row["note"].values():
            assert text.startswith(kept)
            assert bool(kept) == text.isprintable()


@pytest.mark.parametrize("note", ["static", ["static"], {"policy": 1}, {"reason": None}, {"workload": "w" * 257}])
def test_a_note_that_is_none_is_refused_and_nothing_is_set(bench: Bench, note: object) -> None:
    caller = Caller(1, 10)
    lease = bench.ask(caller, "acquire", devices=["GPU-0"])["lease"]
    reply = bench.ask(caller, "set", lease=lease, device="GPU-0", setting={"power_limit_mw": 500_000}, note=note)
    assert (reply["ok"], reply["code"]) == (False, "bad_request")
    assert bench.boards.state("GPU-0")["writes"] == []


def test_a_request_that_fails_inside_is_refused_and_the_next_is_answered(bench: Bench) -> None:
    caller = Caller(1, 10)
    lease = bench.ask(caller, "acquire", devices=["GPU-0"])["lease"]
    boards = (bench.folder / "boards").read_text()
    (bench.folder / "boards").write_text("not JSON")
    reply = bench.ask(caller, "set", lease=lease, device="GPU-0", setting={"power_limit_mw": 500_000})
    assert (reply["ok"], reply["code"]) == (False, "failed")
    (bench.folder / "boards").write_text(boards)
    assert bench.ask(caller, "heartbeat", lease=lease)["ok"]


TEXTS = st.text(st.characters(codec=None, exclude_categories=()), max_size=80) | st.sampled_from(
    [EMOJI, "\ud800", "GPU-0", "GPU-1", ""]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | TEXTS
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(TEXTS, v, max_size=3), max_leaves=8)
MESSAGES = st.fixed_dictionaries(
    {"v": st.just(1) | VALUES, "op": st.sampled_from(OPS) | VALUES},
    optional={
        "id": VALUES,
        "name": TEXTS | VALUES,
        "devices": st.lists(TEXTS, max_size=64) | VALUES,
        "ttl_s": st.floats(1, 60) | VALUES,
        "lease": TEXTS | VALUES,
        "device": st.sampled_from(["GPU-0", "GPU-1"]) | VALUES,
        "setting": st.dictionaries(st.sampled_from(["sm_clock_max_mhz", "power_limit_mw"]), VALUES) | VALUES,
        "note": st.fixed_dictionaries({}, optional=dict.fromkeys(("policy", "reason", "workload"), TEXTS)) | VALUES,
        "reason": TEXTS | VALUES,
        "offset": VALUES,
        "after": VALUES,
    },
)


@pytest.mark.smoke
@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.integers(2, 5), MESSAGES), max_size=12))
@example([(2, {"v": 1, "op": "acquire", "devices": ["GPU-1"], "ttl_s": 10**400})])
@example([(2, {"v": 1, "op": "acquire", "devices": [EMOJI * 9], "ttl_s": 10})])
@example([(2, {"v": 1, "op": "set", "lease": "\ud800", "device": "GPU-0", "setting": {}})])
@example(
    [(2, {"v": 1} | m) for m in ({"op": "hello", "name": EMOJI}, {"op": "acquire", "devices": ["GPU-1"]}, {"op": "status"})]
)
def test_no_message_of_any_peer_ends_the_lease_of_another(messages: list[tuple[int, dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder, closing(Bench(Path(folder))) as bench:
        honest = Caller(1, 10)
        strangers = {number: Caller(number, number) for number in range(2, 6)}
        lease = bench.ask(honest, "acquire", devices=["GPU-0"])["lease"]
        for number, message in messages:
            frame = bench.requests.reply(strangers[number], message)
            (reply,) = Decoder().feed(frame)
            assert len(frame) <= MAX_BYTES + 4
            assert reply["ok"] or (reply["code"], reply["reason"])
            bench.now_s += 1
            bench.core.tick()
            assert bench.ask(honest, "heartbeat", lease=lease)["ok"]


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.binary(max_size=60) | VALUES.map(lambda v: json.dumps(v).encode()), max_size=6), st.integers(1, 40))
def test_any_bytes_are_messages_or_an_error_of_the_wire_however_they_are_split(bodies: list[bytes], step: int) -> None:
    data = b"".join(len(body).to_bytes(4, "big") + body for body in bodies)

    def decode(step: int) -> tuple[list[dict[str, Any]], bool]:
        decoder, messages = Decoder(), []
        for start in range(0, len(data), step):
            try:
                messages += decoder.feed(data[start : start + step])
            except WireError:
                return messages, True
        return messages, False

    messages, broken = decode(step)
    one_by_one = decode(1)
    assert one_by_one[1] == broken
    assert one_by_one[0][: len(messages)] == messages, "what came in one piece with garbage goes with it"
    for message in messages:
        Decoder().feed(encode(message))
