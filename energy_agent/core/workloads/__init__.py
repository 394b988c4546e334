"""Workloads: identity of a job, tokens, training reports, and energy of serving."""
