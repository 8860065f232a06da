"""The same model as in test_log_model.py, walked for long, with every kind of step in every run."""

from __future__ import annotations

from random import Random

import pytest

from tests.storage.test_log_model import LogMachine

WEIGHTS = {
    "append": 30,
    "write": 20,
    "sync": 15,
    "truncate": 8,
    "checkpoint": 5,
    "truncate_head": 4,
    "roll": 3,
    "reset": 1,
    "next_term": 3,
    "lose_power": 4,
    "end_of_process": 3,
    "close_and_open": 1,
    "lose_power_in_the_middle": 8,
}


def _random_step(machine: LogMachine, random: Random) -> None:
    step = random.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))[0]
    amount = random.randint(1, 20)
    arguments: dict[str, dict[str, object]] = {
        "append": {
            "count": random.randint(1, 12),
            "records": random.randint(0, 3),
            "size": random.choice([0, 1, 64, 200, 1500]),
        },
        "truncate": {"back": amount},
        "checkpoint": {"back": amount},
        "truncate_head": {"ahead": amount},
        "reset": {"ahead": amount},
        "lose_power": {"seed": random.getrandbits(32)},
        "lose_power_in_the_middle": {
            "step": random.choice(
                ["write", "write", "sync", "truncate", "checkpoint", "truncate_head", "roll", "reset"]
            ),
            "after": random.randint(0, 12),
            "seed": random.getrandbits(32),
            "amount": amount,
        },
    }
    if step != "truncate" or machine.frames:
        getattr(machine, step)(**arguments.get(step, {}))


@pytest.mark.parametrize("seed", range(40))
def test_a_long_random_life_of_a_log(seed: int) -> None:
    """Hundreds of steps of the same model, every kind of step in every run; the test's id is its seed."""
    random = Random(seed)
    machine = LogMachine()
    machine.start(short=random.random() < 0.3)
    for _ in range(250):
        _random_step(machine, random)
        machine.bounds_agree()
        machine.every_frame_is_there()
        machine.reads_by_offset_agree()
