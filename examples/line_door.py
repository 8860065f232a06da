"""A door for people with a terminal: one command a line over TCP, on the service layer alone.

    PRODUCE topic partition value    ->  OK offset
    FETCH topic partition position   ->  offset value, a line for each record, then END next-offset
    whatever is refused              ->  ERR code what is wrong

docs/DOORS.md goes through it. A value is text without line breaks; what other doors stored is shown with its
backslashes doubled and its line breaks as ``\\n``.
"""

from __future__ import annotations

import asyncio

from floodmark.errors import FloodmarkError, InvalidRequest, RequestTimeout, ServerError
from floodmark.format.names import check_name
from floodmark.format.record import Record

from node.service import positions
from node.service.data_requests import ProduceRequest, Records
from node.service.policy import Operation
from node.service.request_context import RequestContext
from node.service.service import Service

LINE_BYTES_MAX = 64 << 10
PAGE_BYTES = 64 << 10
IDLE_S = 75.0


class LineDoor:
    """Translates, and decides nothing: what a command means is the service's business."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; where that is."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=LINE_BYTES_MAX)
        address: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return address

    def stop(self) -> None:
        """Take no more connections; those that are open end behind their next command."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Authentication belongs here: whom it finds is the principal of all that comes from this client.
        address = str(writer.get_extra_info("peername")[0])
        try:
            while not self._service.draining.is_set():
                async with asyncio.timeout(IDLE_S):
                    line = await reader.readline()
                if not line:
                    break
                context = RequestContext(protocol="line", address=address)  # Of this command alone.
                writer.write((await self._answer(context, line)).encode())
                await writer.drain()  # Who does not read what it asked for is asked nothing more.
        except ValueError:
            writer.write(_refusal(InvalidRequest(f"a line has at most {LINE_BYTES_MAX} bytes")).encode())
        except TimeoutError:
            writer.write(_refusal(RequestTimeout(f"nothing came for {IDLE_S:g} s")).encode())
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _answer(self, context: RequestContext, line: bytes) -> str:
        """The lines that answer one command. Whatever is wrong is an error of ``floodmark.errors``."""
        try:
            match line.decode().rstrip("\r\n").split(" ", 3):
                case ["PRODUCE", topic, partition, value]:
                    return await self._produce(context, check_name(topic), _number(partition), value)
                case ["FETCH", topic, partition, position]:
                    return await self._fetch(context, check_name(topic), _number(partition), position)
            return _refusal(
                InvalidRequest("PRODUCE topic partition value, or FETCH topic partition position")
            )
        except UnicodeDecodeError:
            return _refusal(InvalidRequest("a line is text in UTF-8"))
        except FloodmarkError as error:
            return _refusal(error)
        except Exception:  # noqa: BLE001 - a defect is no client's fault, and ends only its command
            return _refusal(ServerError("something went wrong here"))

    async def _produce(self, context: RequestContext, topic: str, number: int, value: str) -> str:
        service = self._service
        body = Records([Record(None, None, value.encode())])
        with service.broker.uploads(context.address, from_node=False) as held:
            held.take(body.size)
            timeout_s = service.limits.produce_timeout_s
            produced = await service.produce(
                context, ProduceRequest(topic=topic, partition=number, body=body, timeout_s=timeout_s)
            )
        return f"OK {produced.appended.first_offset}\n"

    async def _fetch(self, context: RequestContext, topic: str, number: int, position: str) -> str:
        service, lines = self._service, list[str]()
        partition = await service.find(context, Operation.READ, topic, number)
        with service.answers.hold(context.address) as hold:
            reader = service.reader(context, partition, positions.check(position), hold)
            reader.begin(max_bytes=hold.set_page_aside(PAGE_BYTES))
            size = 0
            while size < PAGE_BYTES and (part := await reader.next()) is not None:
                for offset, record in enumerate(part.records, part.first_offset):
                    reader.move(number, offset + 1)
                    if record is not None:  # else it was removed
                        lines.append(f"{offset} {_shown((record.value or b'').decode(errors='replace'))}\n")
                        size += len(lines[-1])
            reader.let_go()
        return "".join(lines) + f"END {reader.offsets[0]}\n"


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(f"a partition is a number, not {text[:20]!r}")
    return int(text)


def _shown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")


def _refusal(error: FloodmarkError) -> str:
    return f"ERR {error.code} {_shown(error.detail)}\n"
