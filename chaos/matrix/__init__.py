"""The fault matrix: every fault on every target, each a short run of its own."""
