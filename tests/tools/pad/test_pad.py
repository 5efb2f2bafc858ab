"""`smartcar pad …` against a running pad."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import termios
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from messages.pad import BOXES, HEIGHT, WIDTH, inside
from messages.pad_commands import PadStrokeCommand, PadUndo, PadWrite
from models.bundle.bundle import Bundle
from models.inference.gate import Gate
from models.inference.normalise import normalise
from models.inference.test_time_averaging import CarefulClassifier
from models.ink.strokes import render
from services.config import Recognizer
from services.pad.writing import written
from services.recognizer.boxes import SCRIBBLE
from services.recognizer.service import FACTORY_BUNDLE
from tests.conftest import PATIENCE_S, REPOSITORY, wait_for
from tests.services.pad.conftest import Context, Pad, pad, running_pad
from tests.services.processes import Onlooker, environment, service
from tests.tools.car import command, objects, smartcar
from tests.tools.pad.pendigits import Strokes, load, placed

__all__ = ["pad", "running_pad"]  # fixtures


def line_of(name: object, digits: str, seed: int) -> dict[str, Any]:
    return {"id": name, "strokes": written(digits, seed)[1]}


def play(
    pad: Pad, folder: Path, lines: list[Any], *, encoded: bool = True
) -> tuple[int, list[dict[str, Any]]]:
    """Play these lines; the exit code and what came out."""
    path = folder / "lines.jsonl"
    path.write_text("".join((json.dumps(line) if encoded else line) + "\n" for line in lines))
    answer = smartcar(pad.runtime, "pad", "play", str(path), "--json")
    assert "Traceback" not in answer.stderr
    return answer.returncode, objects(answer.stdout)


def offline(strokes: Strokes, classifier: CarefulClassifier, gate: Gate) -> str:
    """What the model says of strokes without any service."""
    ink = render(strokes, (WIDTH, HEIGHT), 4)
    text = ""
    for box in (inside(index) for index in range(BOXES)):
        paper = np.ascontiguousarray(ink[box.y : box.y + box.height, box.x : box.x + box.width])
        crop = normalise(paper)[None]
        row = classifier.classify(crop)[0]
        doubtful = row.max() < Recognizer().certainty or gate.score(crop)[0] < SCRIBBLE
        text += "-" if not paper.any() else "?" if doubtful else str(row.argmax())
    return text


# play


def test_lines_in_and_lines_out_in_their_order(pad: Pad, tmp_path: Path) -> None:
    codes = [f"{number * 2857 % 100000:05}" for number in range(30)]
    lines = [line_of(f"line {place}", text, place) for place, text in enumerate(codes)]
    code, out = play(pad, tmp_path, lines)
    assert code == 0
    assert [line["id"] for line in out] == [f"line {place}" for place in range(30)]
    read = "".join(line["digits"] for line in out)
    right = sum(one == other for one, other in zip(read, "".join(codes), strict=True))
    assert right >= 0.95 * 150
    for line in out:
        assert set(line) == {"id", "digits", "confidence"}
        assert len(line["digits"]) == len(line["confidence"]) == 5
        assert all(0 <= share <= 1 for share in line["confidence"])
    assert pad.read() == out[-1]["digits"]  # the last line stands on the canvas


def test_unseen_writers_are_read_digit_for_digit_as_the_model_does_offline(
    pad: Pad, tmp_path: Path, shared_data: Path
) -> None:
    digits = [each for each in load(shared_data / "pendigits_orig") if 26 <= each.writer <= 30]
    assert len(digits) == 1248
    rng = np.random.default_rng(0)
    lines: list[dict[str, Any]] = []
    for start in range(0, len(digits), BOXES):
        strokes: Strokes = []
        for place, each in enumerate(digits[start : start + BOXES]):
            strokes += placed(each, inside(place).x, inside(place).y, rng)
        lines.append({"id": start, "strokes": strokes})
    code, out = play(pad, tmp_path, lines)
    assert code == 0
    classifier, gate = CarefulClassifier(Bundle.load(FACTORY_BUNDLE)), Gate()
    assert [line["digits"] for line in out] == [offline(line["strokes"], classifier, gate) for line in lines]
    text = "".join(line["digits"] for line in out)
    right = sum(one == each.digit for one, each in zip(text, digits, strict=False))
    assert right >= 0.97 * len(digits)


def test_a_line_that_cannot_be_used_is_named_and_the_others_go_on(pad: Pad, tmp_path: Path) -> None:
    good = json.dumps(line_of("good", "06234", 1))
    code, out = play(
        pad,
        tmp_path,
        [
            good,
            '{"id": "outside", "strokes": [[[600, 5]]]}',
            '{"id": "text", "strokes": [[["1", 5]]]}',
            '{"id": "nan", "strokes": [[[NaN, 5]]]}',
            '{"id": "negative", "strokes": [[[-1, 5]]]}',
            '{"id": "no points", "strokes": [[]]}',
            '{"id": "no strokes"}',
            '{"id": "long", "strokes": [' + json.dumps([[x % 500, 5] for x in range(1001)]) + "]}",
            '{"id": "full", "strokes": ' + json.dumps([[[x % 500, 5] for x in range(1000)]] * 5) + "}",
            '{"id": "endless", "strokes": [' + "[" * (9 << 20),
            "no JSON at all",
            "[1, 2]",
            "",
            '{"id": 7, "strokes": []}',
            '{"strokes": [], "label": "06234"}',
            good,
        ],
        encoded=False,
    )
    assert code == 1
    assert [(line["id"], "digits" in line) for line in out] == [
        ("good", True),
        *((name, False) for name in ("outside", "text", "nan", "negative")),
        *((name, False) for name in ("no points", "no strokes", "long", "full")),
        (10, False),  # a line without an id goes by its number
        (11, False),
        (12, False),
        (7, True),
        (14, True),
        ("good", True),
    ]
    errors = {line["id"]: line["error"] for line in out if "error" in line}
    assert "outside the canvas" in errors["outside"]
    assert "full" in errors["full"]
    assert "too long" in errors[10]
    assert out[0] == out[-1]


def test_standard_input_is_answered_line_by_line(pad: Pad) -> None:
    process = subprocess.Popen(
        command("pad", "play", "-", "--json"),
        cwd=REPOSITORY,
        env=environment(pad.runtime),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for number, digits in enumerate(("12345", "67890")):
        process.stdin.write(json.dumps(line_of(number, digits, number)) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == number  # before the next is written
    process.stdin.close()
    assert process.wait(PATIENCE_S) == 0


def test_a_line_that_a_killed_pad_had_taken_is_played_by_the_next(context: Context, runtime: Path) -> None:
    with service("recognizer", runtime), service("pad", runtime) as first:
        Onlooker(context, runtime).wait_state("pad", "ready")
        process = subprocess.Popen(
            command("pad", "play", "-", "--json"),
            cwd=REPOSITORY,
            env=environment(runtime),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(line_of(1, "12345", 1)) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        first.send_signal(signal.SIGSTOP)  # it takes the next line and does nothing with it
        process.stdin.write(json.dumps(line_of(2, "67890", 1)) + "\n")
        process.stdin.flush()
        waiting = array("i", [1])
        wait_for(lambda: not (fcntl.ioctl(process.stdin, termios.FIONREAD, waiting) or waiting[0]))  # type: ignore[arg-type]
        process.stdin.close()
        first.kill()
        first.wait()
        with service("pad", runtime):
            assert json.loads(process.stdout.readline())["digits"] == "67890"
            assert process.wait(PATIENCE_S) == 0


def test_a_file_without_an_end_of_line_and_an_empty_one(pad: Pad, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps(line_of("x", "1", 1)))
    [line] = objects(smartcar(pad.runtime, "pad", "play", str(path), "--json").stdout)
    assert line["id"] == "x"
    path.write_text("")
    answer = smartcar(pad.runtime, "pad", "play", str(path), "--json")
    assert (answer.returncode, answer.stdout) == (0, "")


def test_what_was_saved_plays_as_it_was_read(pad: Pad, tmp_path: Path) -> None:
    path = tmp_path / "saved.jsonl"
    for digits in ("06234", "9-1"):
        pad.ask(PadWrite(digits=digits, seed=6))
        assert smartcar(pad.runtime, "pad", "save", str(path), "--id", digits).returncode == 0
    strokes = pad.strokes()
    answer = smartcar(pad.runtime, "pad", "save", "--id", "printed")
    points = [[list(point) for point in each] for each in strokes]
    assert objects(answer.stdout) == [{"id": "printed", "strokes": points}]
    out = objects(smartcar(pad.runtime, "pad", "play", str(path), "--json").stdout)
    assert [(line["id"], line["digits"]) for line in out] == [("06234", "06234"), ("9-1", "96134")]
    assert pad.strokes() == strokes


# by hand


def test_write_draws_and_reads(pad: Pad) -> None:
    [out] = objects(smartcar(pad.runtime, "pad", "write", "06234", "--seed", "6", "--json").stdout)
    assert (out["digits"], out["seed"], len(out["confidence"])) == ("06234", 6, 5)
    printed = smartcar(pad.runtime, "pad", "write", "06234", "--seed", "6").stdout
    assert "06234, says" in printed
    assert pad.strokes() == [
        tuple(map(tuple, np.rint(np.array(s) * 16) / 16)) for s in written("06234", 6)[1]
    ]


def test_erase_undo_recognize(pad: Pad) -> None:
    pad.ask(PadWrite(digits="06234", seed=6))
    assert smartcar(pad.runtime, "pad", "erase", "2").returncode == 0
    [out] = objects(smartcar(pad.runtime, "pad", "recognize", "--json").stdout)
    assert out["digits"] == "0-234"
    assert out["model"]["name"]
    assert smartcar(pad.runtime, "pad", "undo").returncode == 0
    assert pad.read() == "06234"
    assert smartcar(pad.runtime, "pad", "erase").returncode == 0
    assert pad.strokes() == []


def test_show_prints_the_crops_and_ten_probabilities(pad: Pad) -> None:
    pad.ask(PadWrite(digits="0-6", seed=6))
    [out] = objects(smartcar(pad.runtime, "pad", "show", "--json").stdout)
    assert [box["digit"] for box in out["boxes"]] == list("0-6--")
    assert [len(box["probabilities"]) for box in out["boxes"]] == [10, 0, 10, 0, 0]
    assert np.array([box["crop"] for box in out["boxes"]]).shape == (5, 28, 28)
    printed = smartcar(pad.runtime, "pad", "show").stdout.splitlines()
    assert printed[0].startswith("1: 0 ")
    assert any("█" in line for line in printed[2:14])
    assert sum(line.startswith(tuple("0123456789")) for line in printed[15:25]) == 10


def test_the_selftest_checks_the_chain_and_leaves_the_canvas_as_it_was(pad: Pad) -> None:
    pad.ask(PadStrokeCommand(points=((60, 60), (60, 140)), author="somebody"))
    before = pad.strokes()
    answer = smartcar(pad.runtime, "pad", "selftest", "--json")
    [out] = objects(answer.stdout)
    assert (answer.returncode, out["ok"], out["of"], out["watched"]) == (0, True, 10, 2)
    assert pad.strokes() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("write", "12x"), "up to five digits"),
        (("write", "123456"), "up to five digits"),
        (("play", "/nowhere.jsonl"), "can't be read"),
        (("play", "/"), "is a folder"),
        (("automatic", "maybe"), "on or off"),
        (("undo",), "nothing to undo"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(pad: Pad, arguments: tuple[str, ...], sentence: str) -> None:
    if arguments == ("undo",):
        while pad.onlooker.commands.send(PadUndo()).error is None:
            pass
    answer = smartcar(pad.runtime, "pad", *arguments)
    assert answer.returncode != 0
    assert sentence in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("what", ["recognize", "erase", "undo", "show", "save", "selftest"])
def test_without_a_pad_each_says_what_to_start(runtime: Path, what: str) -> None:
    answer = smartcar(runtime, "pad", what)
    assert answer.returncode == 1
    assert "smartcar up" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
