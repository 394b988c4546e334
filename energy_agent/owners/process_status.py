"""Fields of /proc/PID/status. Pure.

A process chooses its own name, and the kernel escapes only newlines in it. Read the file as bytes: in text mode Python also
treats a carriage return as the end of a line.
"""


def status_field(text: str, name: str) -> list[str]:
    """The words of a field; [] where it is missing, there twice, or cut off.

    A process in many groups has a file of any length, so that the last line that was read may be half of one.
    """
    lines = [line for line in text.split("\n")[:-1] if line.startswith(f"{name}:")]
    return lines[0].partition(":")[2].split() if len(lines) == 1 else []


def count_pid_namespaces(text: str) -> int:
    """How many pid namespaces the process is in, as seen from that /proc: 1 on the host; 0 where it is unknown."""
    return len(status_field(text, "NSpid"))
