"""What the page's server answers: the page's files, the state of the services, commands, the live view."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import zmq
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import PlainTextResponse, Response
from pydantic import ValidationError

from messages.command import Command, CommandRefused, Door, Reply, parse_command, verbs
from messages.errors import ErrorCode
from messages.message import encode, first_problem, new_ulid
from messages.model_commands import MAX_PART_BYTES, ModelImport, ModelUpload
from messages.rpc.asynchronous import AsyncCommandClient
from services.overlay.access import UPLOAD, Refused
from services.overlay.languages import PAGE, refusal
from services.overlay.viewers import TOO_MANY, Hub, Viewer

DEADLINE_S = 4.0
MODEL_DEADLINE_S = 15.0
"""The updater checks a model file before it answers."""
MAX_WAITING_COMMANDS = 4
MAX_WAITING_STROKES = 64
"""Each page may have one stroke under way to the pad, and a few key presses meanwhile."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_STATUS: dict[str, HTTPStatus] = {
    ErrorCode.MALFORMED: HTTPStatus.BAD_REQUEST,
    ErrorCode.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.UNKNOWN_VERB: HTTPStatus.NOT_FOUND,
    ErrorCode.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.NO_ANSWER: HTTPStatus.GATEWAY_TIMEOUT,
}
_POLICY_VIOLATION, _TRY_AGAIN_LATER = 1008, 1013


class PageCommands:
    """Sends the page's commands to the services. Made anywhere, used in the page's event loop alone."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], runtime: Path) -> None:
        self._context = context
        self._runtime = runtime
        self._clients: dict[str, AsyncCommandClient] = {}

    async def carry_out(self, command: Command) -> Reply:
        """The service's answer, or why there is none."""
        service = command.service
        if service not in self._clients:
            most = MAX_WAITING_STROKES if service == "pad" else MAX_WAITING_COMMANDS
            self._clients[service] = AsyncCommandClient(self._context, self._runtime, service, most)
        deadline_s = MODEL_DEADLINE_S if service == "updater" else DEADLINE_S
        return await self._clients[service].send(command, deadline_s)


def build(hub: Hub, commands: PageCommands, status: Callable[[], str]) -> FastAPI:
    """The application, not yet guarded. `status()` is the JSON of all services, at most a second old."""
    application = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    files = page_files()

    @application.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        sentence = refusal(request.headers.get("accept-language", ""), error.status, error.sentence)
        return PlainTextResponse(f"{sentence}\n", error.status)

    @application.get("/")
    async def index() -> Response:
        return await file("index.html")

    @application.get("/api/status")
    async def api_status() -> Response:
        return Response(status(), media_type="application/json")

    @application.post("/api/command/{verb}")
    async def api_command(verb: str, request: Request) -> Response:
        return _answer(await _command(commands, verb, request))

    @application.post(UPLOAD)
    async def api_model(request: Request) -> Response:
        return _answer(await _upload(commands, request))

    @application.websocket("/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        viewer = hub.join()
        if viewer is None:
            await socket.close(_TRY_AGAIN_LATER, TOO_MANY)
            return
        try:
            await _serve(socket, viewer)
        finally:
            hub.leave(viewer)

    @application.get("/{name}")
    async def file(name: str) -> Response:
        if name not in files:
            raise Refused(HTTPStatus.NOT_FOUND, "There is nothing here; the page is at /.")
        content, media_type = files[name]
        return Response(content, media_type=media_type)

    return application


def page_files() -> Mapping[str, tuple[bytes, str]]:
    """The page's files by their names, as (content, media type); what else lies there is not served."""
    return {
        path.name: (path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(PAGE.iterdir())
        if path.suffix in _TYPES
    }


def page_build() -> str:
    """A name for this very version of the page: an open page that is of another one loads itself again."""
    content = hashlib.sha256()
    for name, (each, _) in page_files().items():
        content.update(name.encode() + b"\0" + each)
    return content.hexdigest()[:12]


async def _command(commands: PageCommands, verb: str, request: Request) -> Reply:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return Reply.refused("", ErrorCode.MALFORMED, "A command is sent as application/json.")
    if verb not in (allowed := verbs(Door.PAGE)):
        sentence = f"The page does not send {verb}. It sends: {', '.join(sorted(allowed))}."
        return Reply.refused("", ErrorCode.UNKNOWN_VERB, sentence)
    try:
        return await commands.carry_out(parse_command(verb, await request.body(), datetime.now(UTC)))
    except CommandRefused as refused:
        return Reply.refused("", refused.code, refused.message)


async def _upload(commands: PageCommands, request: Request) -> Reply:
    """A model file: the body as it is, its name in the address. Who has the token is the owner."""
    upload, sent, part = new_ulid(), 0, b""
    try:
        command = ModelImport(name=request.query_params.get("name", ""), upload=upload)
    except ValidationError as error:
        return Reply.refused("", ErrorCode.MALFORMED, first_problem(error))
    async for chunk in request.stream():
        part += chunk
        if len(part) >= MAX_PART_BYTES or not chunk:  # an empty one is the last
            while part:
                content, part = part[:MAX_PART_BYTES], part[MAX_PART_BYTES:]
                reply = await commands.carry_out(ModelUpload(upload=upload, offset=sent, content=content))
                if reply.error is not None:
                    return reply
                sent += len(content)
    return await commands.carry_out(command)


def _answer(reply: Reply) -> Response:
    status = HTTPStatus.OK
    if reply.error is not None:
        status = _STATUS.get(reply.error.code, HTTPStatus.CONFLICT)
    return Response(encode(reply), status, media_type="application/json")


async def _serve(socket: WebSocket, viewer: Viewer) -> None:
    """Both directions until either ends."""
    tasks = [asyncio.create_task(_send(socket, viewer)), asyncio.create_task(_receive(socket, viewer))]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if isinstance(error := task.exception(), ValueError):
            await socket.close(_POLICY_VIOLATION, str(error))
        elif error is not None and not isinstance(error, WebSocketDisconnect):
            raise error


async def _send(socket: WebSocket, viewer: Viewer) -> None:
    while True:
        payload = await viewer.next()
        if isinstance(payload, bytes):
            await socket.send_bytes(payload)
        else:
            await socket.send_text(payload)


async def _receive(socket: WebSocket, viewer: Viewer) -> None:
    while True:
        event = await socket.receive()
        if event["type"] == "websocket.disconnect":
            return
        viewer.hear(event.get("text") or "")
