"""Queues: working off a topic's records one by one, by as many workers as you like."""
