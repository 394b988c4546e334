"""The simulated GPUs: the plant, its faults, and the NVML library in C."""
