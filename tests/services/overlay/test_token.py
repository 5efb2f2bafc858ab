"""The token is made once, kept private, and made anew where its file is damaged."""

from pathlib import Path

import pytest

from services.overlay.token import Token, write_private


def obtain(path: Path) -> str:
    return Token(path).value


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_first_start_makes_a_token_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "overlay" / "token"
    token = obtain(path)
    assert len(token) == 43, "32 bytes, url-safe"
    assert mode(path) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["token"], "nothing half-made is left"


def test_later_starts_keep_it(tmp_path: Path) -> None:
    assert obtain(tmp_path / "token") == obtain(tmp_path / "token")


def test_two_cars_have_two_tokens(tmp_path: Path) -> None:
    assert obtain(tmp_path / "one") != obtain(tmp_path / "other")


@pytest.mark.parametrize("content", ["", "abc", "x" * 42, "x" * 44, "ä" * 43, "x" * 20 + "\n" + "x" * 22])
def test_a_file_without_a_whole_token_gets_a_fresh_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    token = obtain(path)
    assert token != content
    assert len(token) == 43
    assert obtain(path) == token
    assert mode(path) == 0o600


def test_a_token_that_others_could_read_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = obtain(path)
    path.chmod(0o644)
    assert obtain(path) == token
    assert mode(path) == 0o600


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("x" * 43)
    (tmp_path / "token").symlink_to(elsewhere)
    token = Token(tmp_path / "token")
    assert token.value != "x" * 43
    assert "something else in its place" in token.problem
    assert not token.keep()


def test_what_cannot_be_kept_is_kept_as_soon_as_it_can(tmp_path: Path) -> None:
    (tmp_path / "overlay").write_text("a file, not a folder")
    token = Token(tmp_path / "overlay" / "token")
    assert "overlay is no folder; move it away" in token.problem
    assert not token.keep()
    (tmp_path / "overlay").unlink()
    assert token.keep()
    assert (token.problem, obtain(tmp_path / "overlay" / "token")) == ("", token.value)


def test_private_files_are_replaced_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "address"
    path.write_text("open to all")
    path.chmod(0o644)
    write_private(path, "secret\n")
    assert path.read_text() == "secret\n"
    assert mode(path) == 0o600
