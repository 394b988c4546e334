"""Owners on a Slurm node: jobs and the GPUs that Slurm gave them."""
