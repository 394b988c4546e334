"""Sharing of one device between workloads: policies, and settling what they divide."""
