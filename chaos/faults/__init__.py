"""Faults: each a frozen description, put into force and healed by an ``Injection``."""

from chaos.faults.aim import Aim, Target
from chaos.faults.clock import ClockJump
from chaos.faults.deposed import PauseInCut
from chaos.faults.disk import DiskError, DiskFull, PowerLoss, ShortWrites, SlowSync
from chaos.faults.disk_at_rest import DeleteIndex, FlipBit, OldCopy, TruncateSegment, WipeFolder
from chaos.faults.fault import Fault, Injection
from chaos.faults.lost_majority import LostMajority
from chaos.faults.membership import Drain, Moves
from chaos.faults.network import Bandwidth, Bridge, Cut, DataLimit, Latency, Reset, Slice, SlowClose
from chaos.faults.nodes import Join, Remove, Replace
from chaos.faults.process import Kill, KillStorm, Pause, Restart, RollingRestart
from chaos.faults.restored_copy import RestoredCopy

__all__ = [
    "Aim",
    "Bandwidth",
    "Bridge",
    "ClockJump",
    "Cut",
    "DataLimit",
    "DeleteIndex",
    "DiskError",
    "DiskFull",
    "Drain",
    "Fault",
    "FlipBit",
    "Injection",
    "Join",
    "Kill",
    "KillStorm",
    "Latency",
    "LostMajority",
    "Moves",
    "OldCopy",
    "Pause",
    "PauseInCut",
    "PowerLoss",
    "Remove",
    "Replace",
    "Reset",
    "Restart",
    "RestoredCopy",
    "RollingRestart",
    "ShortWrites",
    "Slice",
    "SlowClose",
    "SlowSync",
    "Target",
    "TruncateSegment",
    "WipeFolder",
]
