"""Questions asked without waiting: each is answered once, whatever becomes of who was asked."""

from __future__ import annotations

import time
from pathlib import Path

import zmq

from messages.bus import endpoint
from messages.capture_commands import CapturePause, CaptureResume, CaptureSource
from messages.command import Reply
from messages.rpc.clients import MAX_WAITING, CallbackCommandClient
from messages.rpc.server import CommandServer, DeferredReply
from tests.conftest import wait_for

Context = zmq.Context[zmq.Socket[bytes]]


def code(reply: Reply) -> str:
    return reply.error.code if reply.error else reply.status


def served(
    server: CommandServer, asker: CallbackCommandClient, answers: list[Reply], count: int
) -> list[Reply]:
    """Let both go on until so many answers came."""

    def go_on() -> bool:
        server.serve()
        asker.receive()
        asker.expire()
        return len(answers) >= count

    wait_for(go_on)
    return answers


def test_questions_are_answered_in_their_turn_and_by_their_id(context: Context, runtime: Path) -> None:
    server = CommandServer(context, runtime, "capture")
    names: list[str] = []
    server.handle(CaptureSource, lambda command: names.append(command.name))
    asker, answers = CallbackCommandClient(context, runtime, "capture"), list[Reply]()
    for number in range(5):
        asker.ask(CaptureSource(id=f"q{number}", name=f"n{number}"), answers.append)
    assert asker.waiting == 5
    served(server, asker, answers, 5)
    assert [(reply.id, reply.status) for reply in answers] == [(f"q{number}", "ok") for number in range(5)]
    assert names == [f"n{number}" for number in range(5)]
    assert asker.waiting == 0


def test_without_an_answer_the_deadline_answers_and_the_deed_is_not_done_later(
    context: Context, runtime: Path
) -> None:
    asker, answers = CallbackCommandClient(context, runtime, "capture"), list[Reply]()
    asker.ask(CapturePause(id="x"), answers.append, deadline_s=0.02)
    asker.expire()
    assert answers == []
    time.sleep(0.03)
    asker.expire()
    asker.expire()
    assert [(reply.id, code(reply)) for reply in answers] == [("x", "no-answer")]
    server = CommandServer(context, runtime, "capture")
    paused: list[str] = []
    server.handle(CapturePause, lambda command: paused.append(command.id))
    asker.ask(CapturePause(id="y"), answers.append)
    served(server, asker, answers, 2)
    assert paused == ["y"]


def test_too_many_questions_are_refused_at_once(context: Context, runtime: Path) -> None:
    asker, answers = CallbackCommandClient(context, runtime, "capture"), list[Reply]()
    for _ in range(MAX_WAITING + 1):
        asker.ask(CapturePause(), answers.append)
    assert [code(reply) for reply in answers] == ["busy"]


def test_a_service_that_stays_away_fills_no_memory(context: Context, runtime: Path) -> None:
    asker, answers = CallbackCommandClient(context, runtime, "capture"), list[Reply]()
    for _ in range(10 * MAX_WAITING):
        asker.ask(CapturePause(), answers.append, deadline_s=0.0)
        asker.expire()
    assert len(answers) == 10 * MAX_WAITING
    assert {code(reply) for reply in answers} <= {"no-answer", "busy"}
    assert asker.waiting <= MAX_WAITING


def test_an_unreadable_answer_is_named_so_and_a_foreign_one_ignored(context: Context, runtime: Path) -> None:
    rogue = context.socket(zmq.ROUTER)
    (runtime / "capture").mkdir()
    rogue.bind(endpoint(runtime, "capture", "command"))
    asker, answers = CallbackCommandClient(context, runtime, "capture"), list[Reply]()
    asker.ask(CapturePause(id="z"), answers.append)
    peer, token, *_ = rogue.recv_multipart()
    rogue.send_multipart((peer, b"another", b"{}"))
    rogue.send_multipart((peer, token, b"rubbish"))
    assert asker.socket.poll(5000)
    asker.receive()
    if not answers:  # the foreign one came alone
        assert asker.socket.poll(5000)
        asker.receive()
    assert [(reply.id, code(reply)) for reply in answers] == [("z", "malformed-reply")]


def test_an_answer_may_come_later_and_reaches_all_who_asked_with_the_id(
    context: Context, runtime: Path
) -> None:
    server = CommandServer(context, runtime, "capture")
    waiting: list[DeferredReply] = []

    def pause(_: CapturePause) -> DeferredReply:
        waiting.append(DeferredReply())
        return waiting[-1]

    server.handle(CapturePause, pause)
    server.handle(CaptureResume, lambda _: None)
    askers = [CallbackCommandClient(context, runtime, "capture") for _ in range(2)]
    answers: list[Reply] = []
    for asker in askers:
        asker.ask(CapturePause(id="same"), answers.append)
        asker.ask(CaptureResume(), lambda _: None)

    def until(waiting_each: int) -> None:
        def came() -> bool:
            server.serve()
            for asker in askers:
                asker.receive()
            return all(asker.waiting == waiting_each for asker in askers)

        wait_for(came)

    until(1)  # others are answered meanwhile
    assert answers == []
    assert len(waiting) == 1
    waiting[0].refuse("busy", "not now")
    until(0)
    assert [(reply.id, code(reply)) for reply in answers] == [("same", "busy")] * 2


def test_a_later_answer_that_is_known_at_once_is_given_at_once(context: Context, runtime: Path) -> None:
    server = CommandServer(context, runtime, "capture")

    def pause(_: CapturePause) -> DeferredReply:
        later = DeferredReply()
        later.refuse("unread", "already")
        return later

    server.handle(CapturePause, pause)
    asker, answers = CallbackCommandClient(context, runtime, "capture"), list[Reply]()
    asker.ask(CapturePause(), answers.append)
    served(server, asker, answers, 1)
    assert code(answers[0]) == "unread"
