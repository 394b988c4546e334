"""The plant's C interface: the library, the types of its functions, and what the codes that they answer mean."""

import ctypes
from functools import cache

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.sim.gpu.build import library_path


class PlantError(WattlensError):
    """The plant refused."""


class DeviceLostError(PlantError):
    """The GPU is lost, or it was and this process is no longer on it."""


@cache
def library() -> ctypes.CDLL:
    """The library, with the types of its functions; built on first use.

    Raises:
        UsageError: it has to be built and there is no compiler.
    """
    lib = ctypes.CDLL(str(library_path()), use_errno=True)
    pointer, i32, u32, i64, u64, real, text = (
        ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_int64, ctypes.c_uint64, ctypes.c_double, ctypes.c_char_p,
    )  # fmt: skip
    signatures: dict[str, tuple[object, list[object]]] = {
        "wl_create": (pointer, [text, u32, u64, real, i32, i64]),
        "wl_board_number": (i32, [pointer, u32, text, real]),
        "wl_board_text": (i32, [pointer, u32, text, text]),
        "wl_board_field": (text, [u32]),
        "wl_publish": (i32, [pointer, text]),
        "wl_attach": (pointer, [text]),
        "wl_close": (None, [pointer]),
        "wl_count": (i32, [pointer]),
        "wl_now_ns": (i64, [pointer]),
        "wl_rate": (real, [pointer]),
        "wl_manual": (i32, [pointer]),
        "wl_uuid": (text, [pointer, u32]),
        "wl_advance_to": (i32, [pointer, i64]),
        "wl_process_attach": (i32, [pointer, u32, i32, u64]),
        "wl_process_detach": (i32, [pointer, u32, i32]),
        "wl_submit": (i64, [pointer, u32, i32, i64, real, real]),
        "wl_done_ns": (i64, [pointer, u32, i32]),
        "wl_remaining_ns": (i64, [pointer, u32, i32, i64]),
        "wl_fault": (i32, [pointer, u32, i32, text, i64]),
        "wl_clear": (i32, [pointer, u32, i32]),
        "wl_truth": (i32, [pointer, u32, pointer, pointer]),
        "wl_slots": (i32, [pointer, u32, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


def board_fields() -> list[str]:
    """The parameters that a board must have, as the library names them."""
    names: list[str] = []
    while (name := library().wl_board_field(len(names))) is not None:
        names.append(name.decode())
    return names


def checked(answer: int, what: str = "the call") -> int:
    """Return the answer of a function; raise the error if it is a failure code.

    Raises:
        UsageError: an argument was out of its range.
        DeviceLostError: the GPU is lost, or was.
        PlantError: the plant is full, or failed.
    """
    if answer >= 0:
        return answer
    if answer == -1:
        raise UsageError(f"{what}: an argument is out of range")
    if answer == -4:
        raise DeviceLostError("the GPU is lost")
    if answer == -5:
        raise DeviceLostError("no such process on the GPU: it ended, or the GPU was lost")
    raise PlantError("the plant is full" if answer == -3 else f"the plant failed with code {answer}")
