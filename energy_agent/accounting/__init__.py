"""Accounts of devices, node and workloads: from samples to ledger entries and published snapshots."""
