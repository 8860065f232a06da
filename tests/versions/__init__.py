"""Builds of this repository's history beside this one."""
