"""How the order service behaves when the log under it misbehaves."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from floodmark.sync import Client
from orders import NotConfirmed, Sales, Shop

from chaos.faults import Aim, Cut, Fault, Kill, Pause, Target
from chaos.testing.cluster import FaultyCluster
from chaos.testing.faults import Faults


@pytest.fixture
def client(floodmark_urls: list[str]) -> Iterator[Client]:
    """The service's own client, which soon asks another node when one does not answer."""
    with Client(floodmark_urls, request_timeout_s=1) as client:
        yield client


@pytest.fixture
def topic(client: Client) -> str:
    """Tests share the cluster, so each has a topic of its own."""
    name = f"orders-{uuid.uuid4()}"
    client.topics.create(name, partitions=1, replication_factor=3)
    return name


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda leader: Kill(aim=leader), id="killed"),
        pytest.param(lambda leader: Cut(aim=leader, links="all"), id="cut off"),
        pytest.param(lambda leader: Pause(aim=leader), id="paused"),
    ],
)
def test_orders_go_on_without_the_leader(
    fault: Callable[[Aim], Fault], client: Client, topic: str, floodmark_faults: Faults
) -> None:
    """Another node takes over; what was confirmed before, meanwhile and afterwards is sold exactly once."""
    shop, sales = Shop(client, topic), Sales(client, topic)
    shop.place("before", "tea")
    with floodmark_faults.inject(fault(Aim(target=Target.LEADER, topic=topic))):
        for number in range(10):
            shop.place(f"meanwhile-{number}", "tea")
        sales.catch_up()
        assert sales.sold == {"tea": 11}
    shop.place("afterwards", "tea", quantity=2)
    sales.catch_up()
    assert sales.sold == {"tea": 13}


def test_a_follower_is_not_missed(
    client: Client, topic: str, floodmark_cluster: FaultyCluster, floodmark_faults: Faults
) -> None:
    """Two of three nodes are a majority: orders are confirmed, and are there to be counted."""
    leader = floodmark_cluster.leader(topic)
    follower = next(name for name in floodmark_cluster.names if name != leader)
    with floodmark_faults.inject(Pause(aim=Aim(node=follower))):
        Shop(client, topic).place("only", "tea")
        sales = Sales(client, topic)
        sales.catch_up()
        assert sales.sold == {"tea": 1}


def test_without_a_majority_an_order_is_not_confirmed_and_may_be_placed_again(
    client: Client, topic: str, floodmark_cluster: FaultyCluster, floodmark_faults: Faults
) -> None:
    """The service says so in time, and the second attempt does not sell twice."""
    shop, sales = Shop(client, topic), Sales(client, topic)
    with floodmark_faults.inject(Pause(aim=Aim(target=Target.MAJORITY))), pytest.raises(NotConfirmed):
        shop.place("again", "tea", timeout_s=3)
    floodmark_cluster.wait_ready()
    shop.place("again", "tea")
    sales.catch_up()
    assert sales.sold == {"tea": 1}
