"""A model of vLLM's engine that was written from the policy protocol alone (docs/dvfs-plant.md)."""
