"""Exactly once from one partition to another: records are read, made into others, and stored with the
position behind them.
"""
