"""Share the energy of one device between workloads: policies, and settlement of later measurements."""
