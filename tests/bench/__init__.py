"""Tests of the benchmarks' own reckoning."""
