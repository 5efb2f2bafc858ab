"""Nothing gets in without the token, under a foreign name or from a foreign site."""

from __future__ import annotations

import socket

import pytest
from websockets.exceptions import InvalidStatus

from services.addresses import is_loopback
from services.overlay.access import HostNames
from tests.conftest import PATIENCE_S
from tests.services.overlay.conftest import Overlay


@pytest.fixture
def overlay(shared_overlay: Overlay) -> Overlay:
    return shared_overlay


@pytest.mark.parametrize("path", ["/", "/main.js", "/style.css", "/api/status", "/nothing", "/?other=1"])
def test_without_the_token_there_is_only_a_sentence(overlay: Overlay, path: str) -> None:
    answer = overlay.ask("GET", path)
    assert answer.status == 401
    assert "`smartcar status`" in answer.text
    assert answer.text.count("\n") == 1
    assert overlay.token not in answer.text


@pytest.mark.parametrize("token", ["", "x" * 43, "ä" * 43, "é", "%00", "a" * 100_000 + "b"])
def test_a_wrong_token_lets_nobody_in(overlay: Overlay, token: str) -> None:
    name = f"smartcar-{overlay.port}"
    assert overlay.ask("GET", "/", {"Cookie": f"{name}={token}".encode().decode("latin-1")}).status in (
        400,
        401,
    )
    quoted = token.replace("ä", "%C3%A4").replace("é", "%E9")[:8000]
    answer = overlay.ask("GET", f"/?token={quoted}")
    assert answer.status == 401
    assert "set-cookie" not in answer.headers


def test_part_of_the_token_is_not_enough(overlay: Overlay) -> None:
    assert overlay.ask("GET", f"/?token={overlay.token[:-1]}").status == 401
    assert overlay.ask("GET", f"/?token={overlay.token}x").status == 401


def test_the_address_with_its_token_becomes_a_cookie_and_leaves_the_address_bar(overlay: Overlay) -> None:
    answer = overlay.ask("GET", f"/?token={overlay.token}")
    assert answer.status == 303
    assert answer.headers["location"] == "/"
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)
    page = overlay.ask("GET", "/", {"Cookie": f"other=1; {cookie}"})
    assert page.status == 200
    assert "<main>" in page.text


def test_a_token_is_taken_at_the_front_door_only(overlay: Overlay) -> None:
    assert overlay.ask("GET", f"/api/status?token={overlay.token}").status == 401


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]", "localhost."])
def test_the_page_is_known_as_this_machine(overlay: Overlay, host: str) -> None:
    given = {**overlay.cookie, "Host": f"{host}:{overlay.port}"}
    assert overlay.ask("GET", "/", given).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "192.168.1.7", "localhost@evil.example", "", "a b", "[::2]"],
)
def test_a_foreign_name_is_refused_even_with_the_token(overlay: Overlay, host: str) -> None:
    answer = overlay.ask("GET", "/", {**overlay.cookie, "Host": host})
    assert answer.status == 421
    assert "overlay.host" in answer.text


def test_a_name_is_checked_before_the_token_is_looked_at(overlay: Overlay) -> None:
    answer = overlay.ask("GET", f"/?token={overlay.token}", {"Host": "evil.example"})
    assert answer.status == 421
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1"])
def test_another_site_may_not_ask(overlay: Overlay, origin: str) -> None:
    assert overlay.ask("GET", "/api/status", {**overlay.cookie, "Origin": origin}).status == 403
    answer = overlay.command("capture.pause", {}, Origin=origin)
    assert answer.status == 403
    assert "another site" in answer.text


def test_what_changes_something_must_say_where_it_comes_from(overlay: Overlay) -> None:
    given = {**overlay.cookie, "Content-Type": "application/json"}
    assert overlay.ask("POST", "/api/command/capture.pause", given, b"{}").status == 403


def test_a_form_of_another_kind_is_no_command(overlay: Overlay) -> None:
    answer = overlay.command("capture.pause", {}, **{"Content-Type": "text/plain"})
    assert answer.status == 400
    assert answer.json["error"]["code"] == "malformed"


def test_the_live_view_wants_the_token_too(overlay: Overlay) -> None:
    with pytest.raises(InvalidStatus) as caught:
        overlay.live(additional_headers={}).close()
    assert caught.value.response.status_code == 401
    assert b"smartcar status" in (caught.value.response.body or b"")


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
def test_the_live_view_is_not_for_other_sites(overlay: Overlay, origin: str | None) -> None:
    with pytest.raises(InvalidStatus) as caught:
        overlay.live(origin=origin).close()
    assert caught.value.response.status_code == 403


def test_the_live_view_is_not_for_foreign_names(overlay: Overlay) -> None:
    """As a browser would ask after a name was bound anew: Host and Origin agree, and both are foreign."""
    foreign = f"evil.example:{overlay.port}"
    with socket.create_connection(("127.0.0.1", overlay.port), timeout=PATIENCE_S) as connection:
        cookie = overlay.cookie["Cookie"]
        connection.sendall(
            f"GET /live HTTP/1.1\r\nHost: {foreign}\r\nOrigin: http://{foreign}\r\nCookie: {cookie}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 421 ")


@pytest.mark.parametrize("path", ["/", "/main.js", "/api/status", "/nothing"])
@pytest.mark.parametrize("known", [True, False])
def test_every_answer_tells_the_browser_to_be_careful(overlay: Overlay, path: str, known: bool) -> None:
    headers = overlay.ask("GET", path, overlay.cookie if known else {}).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_a_body_that_is_too_large_is_not_read(overlay: Overlay) -> None:
    given = {**overlay.cookie, "Origin": overlay.origin, "Content-Type": "application/json"}
    answer = overlay.ask("POST", "/api/command/capture.pause", given, b" " * 100_000)
    assert answer.status == 413


def test_a_body_that_hides_its_length_is_cut_off(overlay: Overlay) -> None:
    with socket.create_connection(("127.0.0.1", overlay.port), timeout=PATIENCE_S) as connection:
        connection.sendall(
            f"POST /api/command/capture.pause HTTP/1.1\r\nHost: 127.0.0.1:{overlay.port}\r\n"
            f"Origin: {overlay.origin}\r\nCookie: {overlay.cookie['Cookie']}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        for _ in range(20):
            connection.sendall(b"400\r\n" + b" " * 1024 + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/../token.py", "/..%2Ftoken.py", "/%2e%2e/service.py", "/__pycache__"])
def test_only_the_files_of_the_page_are_served(overlay: Overlay, path: str) -> None:
    assert overlay.ask("GET", path, overlay.cookie).status == 404


def test_what_is_no_http_is_refused_and_the_page_goes_on(overlay: Overlay) -> None:
    with socket.create_connection(("127.0.0.1", overlay.port), timeout=PATIENCE_S) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")
    assert overlay.ask("GET", "/", overlay.cookie).status == 200


def test_a_page_for_the_network_is_known_by_any_address_but_not_by_any_name() -> None:
    hosts = HostNames("0.0.0.0")
    assert "192.168.1.7:8080" in hosts
    assert "[fe80::1]:8080" in hosts
    assert socket.gethostname() in hosts
    assert f"{socket.gethostname().partition('.')[0]}.local:8080" in hosts
    assert "evil.example" not in hosts


def test_a_page_for_one_name_is_known_by_that_and_as_this_machine() -> None:
    hosts = HostNames("car.home.arpa")
    assert "car.home.arpa" in hosts
    assert "CAR.home.arpa:80" in hosts
    assert "localhost" in hosts
    assert "192.168.1.7" not in hosts


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_keeps_the_network_out(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "", "car.local"])
def test_nothing_else_does(host: str) -> None:
    assert not is_loopback(host)
