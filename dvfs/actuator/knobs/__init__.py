"""Knobs of a device: their interface, NVML, and the disposable children that call NVML."""
