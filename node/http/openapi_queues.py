"""The description of what the API has for queues."""

from __future__ import annotations

from typing import Any

from node.http import openapi_queue_bodies as bodies
from node.http.documents import DeadLetterPage, QueuePage
from node.http.openapi_parts import DURATION, POSITIVE, TEXT, operation, path, query
from node.service.queue_admin import Purged, QueueDescription, QueueList
from node.service.queue_dead import DeadLetterList, Replayed
from node.service.queue_receiving import RECORDS_MAX, WORKER_BYTES_MAX
from node.service.queue_settling import EndedDeliveries


def queue_paths(timeout: dict[str, Any], listing: list[dict[str, Any]]) -> dict[str, Any]:
    """``timeout`` and ``listing``: the parameters of the same name that other paths have too."""
    queue = path("queue", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,249}$"})
    letter = path("id", {"type": "string", "pattern": "^[0-9]+-[0-9]+-[0-9]+$"})
    at = "/v1/queues/{queue}"

    def settling(summary: str, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "post": operation(
                summary,
                [queue, timeout],
                body=body,
                result=EndedDeliveries,
                also={"207": EndedDeliveries},
            )
        }

    return {
        "/v1/queues": {"get": operation("Queues in order of name", [*listing, timeout], result=QueueList)},
        at: {
            "get": operation(
                "A queue with its settings and how much there is", [queue, timeout], result=QueueDescription
            ),
            "put": operation(
                "Make a queue, or change its settings; what is left out stays as it is",
                [queue, timeout],
                body=bodies.queue_body(),
                result=QueueDescription,
                also={"201": QueueDescription},
            ),
            "delete": operation(
                "Delete a queue, with what is not settled", [queue, timeout], status="204", result=None
            ),
        },
        f"{at}/receive": {
            "post": operation(
                "Records for a worker, each with a receipt; before, settle others",
                [
                    queue,
                    query("max", {**POSITIVE, "maximum": RECORDS_MAX}),
                    query("max_bytes", POSITIVE),
                    query("wait", DURATION),
                    query("worker", {"type": "string", "maxLength": WORKER_BYTES_MAX}),
                ],
                body=bodies.receive_body(),
                result=QueuePage,
            )
        },
        f"{at}/ack": settling("Deliveries are done", bodies.receipts_body()),
        f"{at}/nack": settling("Deliveries failed: again, after a delay", bodies.nack_body()),
        f"{at}/extend": settling("Deliveries take longer", bodies.extend_body()),
        f"{at}/reject": settling("Deliveries are dead letters at once", bodies.reject_body()),
        f"{at}/settle": settling("Deliveries end, each in its way", bodies.settle_body()),
        f"{at}/purge": {"post": operation("Settle all that is there", [queue, timeout], result=Purged)},
        f"{at}/dead": {
            "get": operation(
                "Dead letters, in order of partition and number",
                [queue, query("after", TEXT), query("limit", POSITIVE), timeout],
                result=DeadLetterList,
            )
        },
        f"{at}/dead/{{id}}": {
            "get": operation("A dead letter with its record", [queue, letter], result=DeadLetterPage)
        },
        f"{at}/dead/replay": {
            "post": operation(
                "Deliver dead letters again, to this queue alone",
                [queue, timeout],
                body=bodies.replay_body(),
                result=Replayed,
            )
        },
        f"{at}/dead/purge": {
            "post": operation(
                "Take dead letters off the list",
                [queue, timeout],
                body=bodies.purge_dead_body(),
                result=Purged,
            )
        },
    }
