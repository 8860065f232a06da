"""Scenarios as text: what is wrong is told by field and all at once; what is right comes back the same."""

from __future__ import annotations

import pytest

from chaos.faults import Aim, Cut, Kill, Target
from chaos.scenario.builtin import builtin_names, builtin_scenario
from chaos.scenario.errors import ScenarioInvalid
from chaos.scenario.kinds import fields_of, kinds
from chaos.scenario.model import TimedFault
from chaos.scenario.toml_form import parse_scenario, to_toml, toml_value

FAULT = 'name = "x"\n[[fault]]\nat_s = 1\nfor_s = 2\n'


def problems(text: str) -> list[str]:
    """What is wrong with a text."""
    with pytest.raises(ScenarioInvalid) as caught:
        parse_scenario(text)
    return caught.value.problems


def test_a_name_alone_is_a_scenario_without_faults() -> None:
    """Everything else has a default; replication never asks for more nodes than there are."""
    scenario = parse_scenario('name = "x"')
    assert (scenario.nodes, scenario.replication, scenario.faults) == (3, 3, ())
    assert parse_scenario('name = "x"\nnodes = 1').replication == 1


def test_a_fault_is_read_with_its_target_and_its_own_settings() -> None:
    """Settings left out take the fault's defaults, and 'leader' means of the first topic."""
    text = FAULT + 'kind = "cut"\ntarget = "leader"\npartition = 1\ndirection = "out"\npeers = ["n2"]\n'
    aim = Aim(target=Target.LEADER, topic="orders", partition=1)
    cut = Cut(aim=aim, direction="out", peers=("n2",))
    assert parse_scenario(text).faults == (TimedFault(at_s=1, for_s=2, fault=cut),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", ["invalid TOML"]),
        ("", ["'name' is missing: text"]),
        ('name = "x"\nnodes = 0', ["'nodes' must be a whole number from 1 to 9, not 0"]),
        ('name = "x"\nnodes = "three"', ["'nodes' must be a whole number from 1 to 9, not 'three'"]),
        ('name = "x"\nduration_s = nan', ["'duration_s' must be a number from 1 to 86400, not nan"]),
        ('name = "x"\nduraton_s = 9', ["'duraton_s' is not known here; did you mean 'duration_s'?"]),
        ('name = "x"\nreplication = 5', ["'replication' is 5, but there are 3 nodes"]),
        ('name = "x"\ntopics = ["a/b"]', ["'topics': "]),
        ('name = "x"\ntopics = ["admin-1"]', ["'topics': 'admin-1' is one of the topics that the admins"]),
        (
            'name = "x"\n[workload]\nrecords_per_s = 0',
            ["[workload]: 'records_per_s' must be a number from 1"],
        ),
        (
            'name = "x"\n[workload]\nidempotent_producers = 0\nplain_producers = 0',
            ["[workload]: nothing can be checked without producers"],
        ),
        (
            FAULT + 'kind = "earthquake"',
            ["fault 1: 'kind' is 'earthquake'; known kinds: bandwidth, bridge, "],
        ),
        (FAULT, ["fault 1: 'kind' is None; known kinds: "]),
        (
            FAULT + 'kind = "latency"\nlatency_ms = "slow"',
            ["fault 1 (latency): 'latency_ms' must be a whole number, at least 0, not 'slow'"],
        ),
        (
            FAULT + 'kind = "latency"\nlatency_ms = -1',
            ["fault 1 (latency): 'latency_ms' must be a whole number"],
        ),
        (
            FAULT + 'kind = "cut"\nlinks = "mail"',
            ["fault 1 (cut): 'links' must be one of 'peers', 'http', 'all', not 'mail'"],
        ),
        (
            FAULT + 'kind = "kill"\nlatency_ms = 1',
            ["fault 1 (kill): 'latency_ms' is not known here; known are at_s"],
        ),
        (
            FAULT + 'kind = "kill"\ntarget = "king"',
            ["fault 1 (kill): 'target' must be one of 'one', 'leader'"],
        ),
        (FAULT + 'kind = "kill"\nnode = "n4"', ["fault 1 (kill): 'node' is 'n4'; there are n1, n2, n3"]),
        (FAULT + 'kind = "kill"\ntarget = "all"\nnode = "n1"', ["fault 1 (kill): a node is named ('n1')"]),
        (
            FAULT + 'kind = "kill"\ntarget = "leader"\ntopic = "other"',
            ["fault 1 (kill): 'topic' is 'other'; there are orders"],
        ),
        (
            FAULT + 'kind = "kill"\ntarget = "leader"\npartition = 2',
            ["fault 1 (kill): 'partition' must be a whole number from 0 to 1, not 2"],
        ),
        (
            'name = "x"\nduration_s = 10\n[[fault]]\nat_s = 8\nfor_s = 3\nkind = "kill"',
            ["fault 1 (kill): it ends 11 s after the start; 'duration_s' is 10"],
        ),
        (
            'name = "x"\n[[fault]]\nkind = "kill"',
            ["fault 1 (kill): 'at_s' is missing", "fault 1 (kill): 'for_s'"],
        ),
        (FAULT + 'kind = "bridge"\ntarget = "all"', ["fault 1 (bridge): a bridge is one node"]),
        (FAULT + 'kind = "join"\nnode = "n2"', ["fault 1 (join): a node that joins does not exist yet"]),
        (FAULT + 'kind = "remove"\ntarget = "all"', ["fault 1 (remove): one node at a time, not all"]),
        (
            FAULT + 'kind = "lost majority"',
            ["fault 1 (lost majority): the target must be a majority, not one"],
        ),
        (
            FAULT + 'kind = "lost majority"\ntarget = "majority"',
            ["a lost majority may cost changes of topics, too: set 'topic_admins = 0' in [workload]"],
        ),
        (
            FAULT.replace('"x"', '"x"\nnodes = 9') + 'kind = "join"',
            ["1 nodes join 9; at most 9 in total"],
        ),
        (
            'name = "x"\nnodes = 0\n[workload]\nplain_producers = -1\n[[fault]]\nat_s = 0\nkind = "?"',
            [
                "'nodes' must be",
                "[workload]: 'plain_producers' must be",
                "fault 1: 'for_s' is missing",
                "fault 1: 'kind' is '?'",
            ],
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_field(text: str, said: list[str]) -> None:
    """One line for each mistake, in the order of the text, with what would be right."""
    found = problems(text)
    assert len(found) == len(said), found
    for line, beginning in zip(found, said, strict=True):
        assert line.startswith(beginning), line


def test_nodes_that_join_may_be_aimed_at() -> None:
    """By the names that they will have; no others."""
    joins = FAULT + 'kind = "join"\n[[fault]]\nat_s = 9\nfor_s = 1\nkind = "kill"\nnode = "n{}"\n'
    assert parse_scenario(joins.format(4)).further == 1
    assert problems(joins.format(5)) == ["fault 2 (kill): 'node' is 'n5'; there are n1, n2, n3, n4"]


def test_a_scenario_written_as_text_is_read_as_the_same() -> None:
    """Names with quotes and line breaks, seeds and settings that are no defaults survive."""
    text = FAULT + 'kind = "kill storm"\ntarget = "majority"\nup_s = 0.25\nwhen_ready = true\n'
    before = parse_scenario('seed = 7\ndescription = "a \\"b\\"\\nc"\n' + text)
    assert before.seed == 7
    assert before.faults[0].when_ready
    assert parse_scenario(to_toml(before)) == before
    aim = Aim(target=Target.METADATA_LEADER)
    assert TimedFault(at_s=0, for_s=0, fault=Kill(aim=aim)).name == "kill on metadata leader"


@pytest.mark.parametrize("name", builtin_names())
def test_every_scenario_that_comes_along_is_valid(name: str) -> None:
    """It has the name of its file, says what it is for, and comes back the same from its text."""
    scenario = builtin_scenario(name)
    assert scenario.name == name
    assert scenario.description
    assert parse_scenario(to_toml(scenario)) == scenario


def test_kinds_are_found_by_themselves() -> None:
    """Every concrete fault is known by its kind, and the classes they share are none."""
    assert {"kill", "cut", "rolling restart"} <= kinds().keys()
    assert all(cls.kind == kind for kind, cls in kinds().items())


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_can_be_named_in_a_scenario(kind: str) -> None:
    """With nothing but its defaults; its settings have types that TOML can hold."""
    head = FAULT
    if kinds()[kind].loses_records:  # Which is about a majority, and costs changes of topics.
        head = FAULT.replace("[[fault]]", "[workload]\ntopic_admins = 0\n[[fault]]") + 'target = "majority"\n'
    scenario = parse_scenario(head + f'kind = "{kind}"\n')
    assert type(scenario.faults[0].fault) is kinds()[kind]
    settings = {name: field.default for name, field in fields_of(kinds()[kind]).items()}
    text = "".join(f"{name} = {toml_value(value)}\n" for name, value in settings.items())
    assert parse_scenario(head + f'kind = "{kind}"\n{text}') == scenario
    assert parse_scenario(to_toml(scenario)) == scenario
