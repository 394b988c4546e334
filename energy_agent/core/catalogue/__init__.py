"""Every metric of Wattlens: its name, type, unit, labels and help."""
