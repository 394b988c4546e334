"""What `wattlens doctor` looks at: one file, one check, one `SPEC`."""
