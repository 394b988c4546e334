"""NVML's field ids and numbers of the health of a device, as nvml.h has them.

All field ids are <= 250: later ones were renumbered between driver branches and would be misread without any error.
"""

from collections.abc import Mapping

CORRECTED, UNCORRECTED = "corrected", "uncorrected"

ECC_FIELDS: Mapping[int, tuple[str, tuple[str, ...]]] = {
    3: ("ecc_volatile_errors", (CORRECTED,)), 4: ("ecc_volatile_errors", (UNCORRECTED,)),
    5: ("ecc_errors", (CORRECTED,)), 6: ("ecc_errors", (UNCORRECTED,)),
    7: ("ecc_volatile_location_errors", (CORRECTED, "l1_cache")),
    8: ("ecc_volatile_location_errors", (UNCORRECTED, "l1_cache")),
    9: ("ecc_volatile_location_errors", (CORRECTED, "l2_cache")),
    10: ("ecc_volatile_location_errors", (UNCORRECTED, "l2_cache")),
    11: ("ecc_volatile_location_errors", (CORRECTED, "dram")),
    12: ("ecc_volatile_location_errors", (UNCORRECTED, "dram")),
    13: ("ecc_volatile_location_errors", (CORRECTED, "register_file")),
    14: ("ecc_volatile_location_errors", (UNCORRECTED, "register_file")),
    15: ("ecc_volatile_location_errors", (CORRECTED, "texture")),
    16: ("ecc_volatile_location_errors", (UNCORRECTED, "texture")),
    17: ("ecc_volatile_location_errors", (UNCORRECTED, "cbu")),
    18: ("ecc_location_errors", (CORRECTED, "l1_cache")),
    19: ("ecc_location_errors", (UNCORRECTED, "l1_cache")),
    20: ("ecc_location_errors", (CORRECTED, "l2_cache")),
    21: ("ecc_location_errors", (UNCORRECTED, "l2_cache")),
    22: ("ecc_location_errors", (CORRECTED, "dram")),
    23: ("ecc_location_errors", (UNCORRECTED, "dram")),
    24: ("ecc_location_errors", (CORRECTED, "register_file")),
    25: ("ecc_location_errors", (UNCORRECTED, "register_file")),
    26: ("ecc_location_errors", (CORRECTED, "texture")),
    27: ("ecc_location_errors", (UNCORRECTED, "texture")),
    28: ("ecc_location_errors", (UNCORRECTED, "cbu")),
}  # fmt: skip
"""Quantity and labels of each counter. Volatile ones count since the driver was loaded, the others over the GPU's lifetime."""
LOCATION_SRAM = 7
"""Caches and registers together, as GPUs from Ampere on report them. NVML has a call for it, but no field."""

MEMORY_FIELDS: Mapping[int, tuple[str, tuple[str, ...]]] = {
    29: ("retired_pages", ("single_bit",)), 30: ("retired_pages", ("double_bit",)), 31: ("page_retirement_pending", ()),
    142: ("remapped_rows", (CORRECTED,)), 143: ("remapped_rows", (UNCORRECTED,)),
    144: ("row_remap_pending", ()), 145: ("row_remap_failed", ()),
}  # fmt: skip

FIELD_PCIE_REPLAYS = 94
PCIE_FIELDS: Mapping[int, tuple[str, tuple[str, ...]]] = {
    FIELD_PCIE_REPLAYS: ("pcie_replays", ()), 197: ("pcie_b", ("transmit",)), 198: ("pcie_b", ("receive",)),
    169: ("pcie_errors", ("l0_to_recovery",)), 173: ("pcie_errors", ("correctable",)),
    179: ("pcie_errors", ("non_fatal",)), 180: ("pcie_errors", ("fatal",)), 181: ("pcie_errors", ("unsupported_request",)),
}  # fmt: skip
"""Fields 174 to 178, 182 and 183 are left out: they split the correctable errors by kind, which would count them twice."""

FIELD_NVLINK_COUNT = 91
FIELD_NVLINK_STATE = 165
"""Of the link that is its scope; not in drivers before R520, where a call for each link has to do."""
NVLINK_TOTAL_FIELDS: Mapping[int, str] = {38: "crc_flit", 45: "crc_data", 52: "replay", 59: "recovery", 160: "ecc_data"}
"""Sums over all links; not on Blackwell."""
NVLINK_LINK_FIELDS: Mapping[int, tuple[str, str]] = {
    138: ("nvlink_kib", "transmit"), 139: ("nvlink_kib", "receive"),
    161: ("nvlink_kind_errors", "replay"), 162: ("nvlink_kind_errors", "recovery"), 163: ("nvlink_kind_errors", "crc"),
    202: ("nvlink_b", "transmit"), 204: ("nvlink_b", "receive"),
    206: ("nvlink_kind_errors", "malformed_packet"), 207: ("nvlink_kind_errors", "buffer_overrun"),
    208: ("nvlink_kind_errors", "receive"), 209: ("nvlink_kind_errors", "receive_remote"),
    210: ("nvlink_kind_errors", "receive_general"), 211: ("nvlink_kind_errors", "link_integrity"),
    212: ("nvlink_kind_errors", "transmit_discard"), 213: ("nvlink_kind_errors", "recovery_succeeded"),
    214: ("nvlink_kind_errors", "recovery_failed"), 219: ("nvlink_kind_errors", "effective"),
    221: ("nvlink_kind_errors", "symbol"),
}  # fmt: skip
"""Of the link that is the field's scope; those of 138 and 161 to 163 up to Hopper, those above 200 from Blackwell on."""

CORRECTED_BITS = ("effective", "symbol")
"""Kinds that count bits which forward error correction repairs: they occur all the time on a healthy link."""

FIELD_RECOVERY_ACTION = 230
RECOVERY_ACTIONS = (
    "none", "gpu_reset", "node_reboot", "drain_p2p", "drain_and_reset", "recover_imex_domain", "bus_reset", "system_reboot",
)  # fmt: skip

GPM_ACTIVITIES: Mapping[int, str] = {
    1: "graphics", 2: "sm", 3: "sm_occupancy", 4: "integer", 5: "tensor", 10: "dram", 11: "fp64", 12: "fp32", 13: "fp16",
}  # fmt: skip
GPM_TRAFFIC: Mapping[int, tuple[str, str]] = {
    20: ("pcie", "transmit"), 21: ("pcie", "receive"), 60: ("nvlink", "receive"), 61: ("nvlink", "transmit"),
}  # fmt: skip
