"""Fields of /proc/PID/status, whatever a process calls itself."""

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from energy_agent.owners.process_status import count_pid_namespaces, status_field

LINE_ENDS = ("\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")
STATUS = "Name:\t{}\nUmask:\t0022\nPid:\t10\nUid:\t1000\t1000\t0\t1000\nGroups:\t{}\nNSpid:\t10\t1\nCapEff:\t00ff\n"


@given(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])) | st.sampled_from(LINE_ENDS))
def test_no_name_adds_or_changes_a_field(name):
    for forged in (name, f"{name}NSpid:\t1", f"{name}Uid:\t0\t0\t0\t0", f"x{name}CapEff:\tff"):
        text = STATUS.format(forged, "")
        assert count_pid_namespaces(text) == 2
        assert status_field(text, "Uid") == ["1000", "1000", "0", "1000"]
        assert status_field(text, "CapEff") == ["00ff"]


def test_a_file_that_is_cut_off_or_malformed_has_no_field_by_half():
    whole = STATUS.format("x", "0 " * 5000)
    first = whole.index("\nNSpid:\t10\t1\n") + 1
    for end in range(len(whole)):
        if end <= first + len("NSpid:\t10\t1"):
            assert count_pid_namespaces(whole[:end]) == 0
        else:
            assert count_pid_namespaces(whole[:end]) == 2
    assert status_field("Uid:\t1\nUid:\t0\n", "Uid") == []
    assert status_field("", "Uid") == status_field("Uids:\t1\n", "Uid") == status_field("Uid:\n", "Uid") == []


def test_the_kernels_own_file_of_a_process_with_such_a_name():
    code = "import ctypes, sys; ctypes.CDLL(None).prctl(15, sys.argv[1].encode('latin-1'), 0, 0, 0); print(flush=True); input()"
    for end in ("\r", "\v", "\f", "\x85", "\n", "\\"):
        command = [sys.executable, "-I", "-c", code, f"{end}NSpid: 1 2 3"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "\n"
            text = Path(f"/proc/{child.pid}/status").read_bytes().decode(errors="replace")
            status_text = Path("/proc/self/status").read_bytes().decode(errors="replace")
            assert count_pid_namespaces(text) == count_pid_namespaces(status_text) == 1
            child.communicate("\n")
