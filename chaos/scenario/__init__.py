"""Scenarios: what a run does to a cluster, and its workload."""
