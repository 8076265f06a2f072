"""Question benchmarks: a benchmark is a short versioned file in eval/tasks/ and at most one small function."""
