"""Devices that have a power sensor: one package per vendor's interface."""
