"""Messages between a measured process and its sampler.

Windows open and close through a ring in shared memory: a system call that wakes another process costs more than a whole window
may. The sampler polls the ring every few ms while windows are in use. After a while without windows it sleeps, notes that in
the ring's header, and is woken by an empty packet. Results are requested and returned on a seqpacket socket.
"""

import struct
from mmap import mmap

ASK = struct.Struct("=q")
"""The number of the window whose result is requested; an empty packet only wakes the sampler."""
WAKE = b"\0"
ANSWER_B = 1 << 17
OPEN, CLOSE = 1, 2
COUNTER, SAMPLING, INTERPOLATED, POWER = "counter", "sampling counter", "counter interpolation", "integrated power"
"""Methods of a window: by the counter; by one that may add up samples of power; along straight lines, within bounds; by
readings of power, where there is no counter."""
_SLOTS = 1 << 15
_HEAD_B = 64
_SLOT = struct.Struct("=qqqqq")  # sequence, kind, number, instant in ns of the node's boot clock, all of them xor-ed
RING_B = _HEAD_B + _SLOTS * _SLOT.size


class Ring:
    """The ring; one process writes, one reads. Each sequence number is written once, by whichever thread drew it."""

    def __init__(self, memory: mmap) -> None:
        self._memory = memory
        self._next = 1

    @property
    def asleep(self) -> bool:
        """The reader has to be woken."""
        return self._memory[0] == 1

    @asleep.setter
    def asleep(self, value: bool) -> None:
        self._memory[0] = int(value)

    def write(self, sequence: int, kind: int, number: int, t_ns: int) -> None:
        """Put a message in the place of `sequence`, counted from 1."""
        at = _HEAD_B + sequence % _SLOTS * _SLOT.size
        _SLOT.pack_into(self._memory, at, sequence, kind, number, t_ns, sequence ^ kind ^ number ^ t_ns)

    def read(self) -> tuple[int, int, int] | None:
        """Kind, number and instant of the next message; None if it is missing or half written.

        A reader that was overtaken continues with the oldest message that is left.
        """
        at = _HEAD_B + self._next % _SLOTS * _SLOT.size
        sequence, kind, number, t_ns, check = _SLOT.unpack_from(self._memory, at)
        if sequence < self._next or check != sequence ^ kind ^ number ^ t_ns:
            return None
        self._next = sequence + 1
        return kind, number, t_ns
