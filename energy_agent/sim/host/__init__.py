"""The simulated host around the GPUs: RAPL files, power supplies and a Redfish service."""
