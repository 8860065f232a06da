"""Scenarios: what a run does to a cluster, and what is written and read meanwhile."""
