"""The requests that only the metadata's leader can do, with the names under which nodes forward them."""

from __future__ import annotations

from typing import Any, Final

from node import outcomes
from node.broker import CreatedToken, DrainInfo, Features, QuotaInfo, RebalanceInfo, UserInfo
from node.service.acls import AclList, AddAcls, AddedAcls, RemoveAcls
from node.service.at_coordinator import MakeCoordinator
from node.service.cluster import DescribeFeatures, RaiseLevel
from node.service.inside_answers import Asked, InsideAnswers
from node.service.inside_requests import register
from node.service.moves import MoveReplicas, Reassignments
from node.service.nodes import DrainNode, ForgetNode, Rebalance, RemoveNode, ReplaceNode
from node.service.policy import Operation
from node.service.producer_ids import InitProducerId, ProducerNumber
from node.service.quotas import RemoveQuota, SetQuota
from node.service.request_context import RequestContext
from node.service.requests import Request
from node.service.service import Service
from node.service.tokens import CreateLogin, CreateToken, RevokeToken
from node.service.topic_changes import AlterTopic, CreatedTopic, CreateTopic, DeleteTopic
from node.service.topic_description import TopicDescription
from node.service.users import CreateUser, DeleteUser, ResetAdministrator, SetAdministrator, SetPassword

PROTOCOL: Final = "inside"
"""The protocol of forwarded requests: the forwarding node has judged them."""
AT_METADATA_LEADER: Final[dict[str, tuple[type[Request[Any]], Any]]] = {
    "create_topic": (CreateTopic, CreatedTopic),
    "alter_topic": (AlterTopic, TopicDescription),
    "delete_topic": (DeleteTopic, None),
    "describe_features": (DescribeFeatures, Features),
    "raise_level": (RaiseLevel, Features),
    "move_replicas": (MoveReplicas, Reassignments),
    "drain_node": (DrainNode, DrainInfo),
    "forget_node": (ForgetNode, None),
    "remove_node": (RemoveNode, DrainInfo),
    "replace_node": (ReplaceNode, DrainInfo),
    "rebalance": (Rebalance, RebalanceInfo),
    "init_producer_id": (InitProducerId, ProducerNumber),
    "add_acls": (AddAcls, AddedAcls),
    "remove_acls": (RemoveAcls, AclList),
    "set_quota": (SetQuota, QuotaInfo),
    "remove_quota": (RemoveQuota, None),
    "create_user": (CreateUser, UserInfo),
    "delete_user": (DeleteUser, None),
    "set_password": (SetPassword, UserInfo),
    "set_administrator": (SetAdministrator, UserInfo),
    "reset_administrator": (ResetAdministrator, None),
    "create_token": (CreateToken, CreatedToken),
    "create_login": (CreateLogin, CreatedToken),
    "revoke_token": (RevokeToken, None),
    "make_coordinator": (MakeCoordinator, None),
}
"""Each request's name between nodes, which never changes its meaning, and its result type."""

for _name, (_request, _result) in AT_METADATA_LEADER.items():
    register(_name, _request, _result, stores=_request.operation is not Operation.DESCRIBE)


def answer_administration(answers: InsideAnswers, service: Service) -> None:
    """Have this node, while it leads the metadata, serve requests that other nodes forward."""

    async def execute(request: Request[Any], asked: Asked) -> Any:
        if not service.broker.metadata.leads_here:
            raise outcomes.not_leader(None)
        return await request.execute(service, RequestContext(protocol=PROTOCOL, deadline=asked.deadline))

    for request, _ in AT_METADATA_LEADER.values():
        answers.on(request, execute)
