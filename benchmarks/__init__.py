"""Long runs and measurements, each a module with `main`; figures are kept in docs/benchmarks.md."""
