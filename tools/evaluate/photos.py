"""`smartcar evaluate photos FOLDER`: whole photos with digits, ours beside text recognisers of others.

The folder holds `labels.json`, and the photos beside it or in `photos/`:

    {"card.jpg": {"lines": ["012", "345"]}, "sheet.jpg": {"lines": ["67"], "rotate_ccw": true}}

`lines` are the digits from top to bottom once the photo is upright. A photo with `rotate_ccw` lies on its
side and is upright after a quarter turn counter-clockwise.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from services.capture.photo import PhotoError, read_photo
from services.recognizer.pipeline import Reader
from tools.evaluate import peers
from tools.evaluate.candidates import ComparedModel
from tools.terminal.output import print_json, print_table, say
from tools.terminal.problems import Problem

Pixels = NDArray[np.uint8]
Reads = Callable[[Pixels], list[str]]
"""A photo (h, w, 3) BGR in, its lines of digits from top to bottom out."""

LABELS = "labels.json"
_TILE, _TEXT, _COLUMNS = 240, 44, 6
"""Side of a photo on the sheet of mistakes, height of the text below it, photos in a row."""


@dataclass(frozen=True)
class Photo:
    """A photo and what a person reads in it."""

    name: str
    path: Path
    lines: tuple[str, ...]
    on_side: bool

    def pixels(self) -> Pixels:
        """The photo as it was taken, (h, w, 3) BGR. Raises Problem."""
        try:
            return read_photo(self.path)
        except PhotoError as error:
            raise Problem(f"{self.path} {error}.") from None


@dataclass
class Tally:
    """How the photos of a folder were read by one reader."""

    name: str
    photos: int = 0
    exact: int = 0
    """Photos in which exactly the labelled lines were read, from top to bottom."""
    wrong_without_doubt: int = 0
    """Photos in which something else was read, and no `?` in it."""
    nothing_read: int = 0
    lines: int = 0
    lines_right: int = 0
    digits: int = 0
    digits_missed: int = 0
    digits_invented: int = 0
    digits_misread: int = 0
    digits_refused: int = 0
    """Digits read as `?`."""
    milliseconds: list[float] = field(default_factory=list, repr=False)
    """For each photo, once it is decoded."""

    def add(self, wanted: tuple[str, ...], said: list[str]) -> bool:
        """Count what was said of one photo; returns whether it is exactly what was wanted."""
        exact = tuple(said) == wanted
        self.photos += 1
        self.exact += exact
        self.nothing_read += not said
        self.wrong_without_doubt += bool(said) and not exact and not any("?" in line for line in said)
        self.lines += len(wanted)
        self.lines_right += (Counter(wanted) & Counter(said)).total()
        self.digits += len("".join(wanted))
        found = alignment("".join(wanted), "".join(said))
        self.digits_missed += found["missed"]
        self.digits_invented += found["invented"]
        self.digits_misread += found["misread"]
        self.digits_refused += found["refused"]
        return exact


def alignment(wanted: str, said: str) -> Counter[str]:
    """The fewest digits missed, invented, misread and refused (`?`) that make `said` of `wanted`.

    This is the edit distance of Levenshtein (1966), in which a refusal costs half a mistake.
    """
    row: list[tuple[float, Counter[str]]] = [(0.0, Counter())]
    for _ in said:
        row.append((row[-1][0] + 1, row[-1][1] + Counter(["invented"])))
    for digit in wanted:
        before, row = row, [(row[0][0] + 1, row[0][1] + Counter(["missed"]))]
        for place, letter in enumerate(said):
            cost, kind = (
                (0.0, "") if letter == digit else (0.5, "refused") if letter == "?" else (1, "misread")
            )
            row.append(
                min(
                    (before[place][0] + cost, before[place][1] + Counter([kind] if kind else [])),
                    (before[place + 1][0] + 1, before[place + 1][1] + Counter(["missed"])),
                    (row[-1][0] + 1, row[-1][1] + Counter(["invented"])),
                    key=lambda step: step[0],
                )
            )
    return row[-1][1]


def labelled(folder: Path) -> list[Photo]:
    """The photos that `labels.json` in the folder names, by name. Raises Problem."""
    try:
        labels = json.loads((folder / LABELS).read_bytes())
        place = folder / "photos" if (folder / "photos").is_dir() else folder
        return [
            Photo(name, place / name, tuple(map(str, label["lines"])), bool(label.get("rotate_ccw")))
            for name, label in sorted(labels.items())
        ]
    except OSError as error:
        raise Problem(f"{folder / LABELS} can't be read: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Problem(
            f'{folder / LABELS} is to name each photo and its lines: {{"card.jpg": {{"lines": ["012"]}}}}.'
        ) from None


def compare(
    candidates: list[ComparedModel], folder: Path, *, with_peers: bool, mistakes: Path | None, json: bool
) -> int:
    """Read the photos with each model, and with the peers where wanted, and print the table. Raises Problem.

    What the first model does not read exactly is drawn into `mistakes`.
    """
    cv2.setNumThreads(1)
    photos = labelled(folder)
    tallies, remarks, wrong = [], [], list[tuple[Photo, list[str]]]()
    for number, candidate in enumerate(candidates):
        read = partial(_texts, candidate.reader())
        tally, missed = _read(candidate.name, photos, read, turned=False)
        tallies.append(tally)
        wrong = missed if not number else wrong
    for peer in peers.find() if with_peers else ():
        if isinstance(peer, peers.Absent):
            remarks.append(f"{peer.name} isn't installed: {peer.remedy}")
        else:  # it is given upright photos, in its favour
            tallies.append(_read(peer.name, photos, peer.read_lines, turned=True)[0])
    if mistakes is not None:
        _draw(wrong, mistakes)
    if json:
        for tally in tallies:
            print_json({**asdict(tally), "milliseconds": round(float(np.median(tally.milliseconds)), 2)})
        return 0
    print_table((f"{len(photos)} photos in {folder}", *(tally.name for tally in tallies)), _rows(tallies))
    for remark in remarks:
        say(remark)
    return 0


def _texts(reader: Reader, photo: Pixels) -> list[str]:
    return [line.text for line in reader.read_any_way_up(photo)]


def _read(
    name: str, photos: list[Photo], read: Reads, *, turned: bool
) -> tuple[Tally, list[tuple[Photo, list[str]]]]:
    """How a reader reads the photos, and which it does not read exactly, with what it said."""
    tally, wrong = Tally(name), []
    for photo in photos:
        pixels = photo.pixels()
        if turned and photo.on_side:
            pixels = np.ascontiguousarray(np.rot90(pixels))
        started = time.perf_counter()
        said = read(pixels)
        tally.milliseconds.append((time.perf_counter() - started) * 1000)
        if not tally.add(photo.lines, said):
            wrong.append((photo, said))
    return tally, wrong


def _rows(tallies: list[Tally]) -> list[tuple[str, ...]]:
    def row(title: str, tell: Callable[[Tally], str]) -> tuple[str, ...]:
        return (title, *(tell(tally) for tally in tallies))

    return [
        row("exactly right", lambda tally: f"{tally.exact} of {tally.photos}"),
        row("wrong without a ?", lambda tally: f"{tally.wrong_without_doubt}"),
        row("nothing read", lambda tally: f"{tally.nothing_read}"),
        row("lines right", lambda tally: f"{tally.lines_right} of {tally.lines}"),
        row("digits missed", lambda tally: f"{tally.digits_missed} of {tally.digits}"),
        row("digits invented", lambda tally: f"{tally.digits_invented}"),
        row("digits misread", lambda tally: f"{tally.digits_misread}"),
        row("digits read as ?", lambda tally: f"{tally.digits_refused}"),
        row("a photo, median", lambda tally: f"{np.median(tally.milliseconds):.0f} ms"),
    ]


def _draw(wrong: list[tuple[Photo, list[str]]], path: Path) -> None:
    """Write the photos that were not read exactly as one picture, each with its lines and what was read."""
    tiles = [_tile(photo, said) for photo, said in wrong]
    tiles += [np.full((_TILE + _TEXT, _TILE, 3), 255, np.uint8)] * (-len(tiles) % _COLUMNS or not tiles)
    columns = min(_COLUMNS, len(tiles))
    sheet = np.vstack([np.hstack(tiles[at : at + columns]) for at in range(0, len(tiles), columns)])
    try:
        written = cv2.imwrite(str(path), sheet)
    except cv2.error:
        written = False
    if not written:
        raise Problem(f"{path} can't be written: give a file ending in .png in a folder that is there.")


def _tile(photo: Photo, said: list[str]) -> Pixels:
    pixels = photo.pixels()
    scale = _TILE / max(pixels.shape[:2])
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:_TILE, :_TILE]
    tile = np.full((_TILE + _TEXT, _TILE, 3), 255, np.uint8)
    tile[: small.shape[0], : small.shape[1]] = small
    for number, text in enumerate((f"is {' '.join(photo.lines)}", f"read {' '.join(said) or 'nothing'}")):
        at = (4, _TILE + 16 + 18 * number)
        cv2.putText(tile, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return tile
