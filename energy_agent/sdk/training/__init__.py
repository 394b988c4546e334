"""`step`, `phase` and `training`: energy per step and per token of a training run."""
