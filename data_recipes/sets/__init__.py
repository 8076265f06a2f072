"""Finished sets of records: splits, leakage, statistics, benches, rewriting."""
