"""`wattlens dvfs sweep`: a workload's time and power over clock and limit, measured through agent and actuator."""
