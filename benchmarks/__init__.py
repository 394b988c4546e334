"""Long runs and measurements, each a module with `main`; figures are kept in benchmarks/README.md."""
