"""Faults: each a frozen description, put into force and healed by an ``Injection``."""

from chaos.faults.aim import Aim, Target
from chaos.faults.fault import Fault, Injection
from chaos.faults.network import Bandwidth, Bridge, Cut, DataLimit, Latency, Reset, Slice, SlowClose
from chaos.faults.process import Kill, KillStorm, Pause, Restart, RollingRestart

__all__ = [
    "Aim",
    "Bandwidth",
    "Bridge",
    "Cut",
    "DataLimit",
    "Fault",
    "Injection",
    "Kill",
    "KillStorm",
    "Latency",
    "Pause",
    "Reset",
    "Restart",
    "RollingRestart",
    "Slice",
    "SlowClose",
    "Target",
]
