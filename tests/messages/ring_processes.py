"""Processes around a frame ring, for the tests: writers that are killed and readers of every speed.

Run as `python -m tests.messages.ring_processes PART FOLDER …`. Every frame says in each of its words which
frame it is: its generation, mixed with the ring's id. A notice board, one file of words beside the ring,
tells what stands where; it is written without a lock, so what it says may be wrong, as an old message may.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt

from messages.ring import FrameGone, FrameReference, OpenSlot, RingReader, RingWriter
from messages.ring_file import Pixels

REPOSITORY = Path(__file__).resolve().parents[2]

SIDE = 48
SLOTS = 8
_RING, _NEWEST, _STOP, _READ_BY_0, _READ_BY_1, _GENERATIONS = range(6)
Words = npt.NDArray[np.uint64]


def board(folder: Path) -> Words:
    """The notice board: the ring, the slot written last, the sign to stop, what two readers read last,
    each slot's generation.
    """
    path = folder / "board"
    if not path.exists():
        path.write_bytes(bytes(8 * (_GENERATIONS + SLOTS)))
    return np.memmap(path, np.uint64, "r+")


def stop(notices: Words) -> None:
    notices[_STOP] = 1


def signature(ring: str, generation: int) -> int:
    """What each word of the frame must be."""
    return int(ring, 16) ^ (generation * 0x9E3779B97F4A7C15 & (1 << 64) - 1)


def words_of(pixels: Pixels) -> Words:
    return pixels.reshape(-1).view(np.uint64)


def is_whole(pixels: Pixels, reference: FrameReference) -> bool:
    return bool((words_of(pixels) == np.uint64(signature(reference.ring, reference.generation))).all())


def fill(slot: OpenSlot) -> None:
    words_of(slot.pixels)[:] = signature(slot.reference.ring, slot.reference.generation)


def start(part: str, folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """Run one of the parts below as a process."""
    command = [sys.executable, "-m", "tests.messages.ring_processes", part, str(folder), *map(str, arguments)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def pin(notices: Words, reference: FrameReference) -> None:
    """Say on the board where a frame stands."""
    notices[_GENERATIONS + reference.slot] = reference.generation
    notices[_NEWEST] = reference.slot
    notices[_RING] = int(reference.ring, 16)


def _referred(notices: Words, slot: int) -> FrameReference:
    return FrameReference(f"{int(notices[_RING]):016x}", slot, int(notices[_GENERATIONS + slot]), SIDE, SIDE)


def read(folder: Path, speed: str, number: int) -> None:
    """Read until told to stop, then print what was seen. `speed` says how long a frame is held, and how.

    fast: any slot, one look; newest: the slot written last; slow: held for up to 3 ms; nested: three frames
    at once; threads: four threads with one reader; late: after a pause in which all was overwritten.
    """
    notices, reader = board(folder), RingReader(folder)
    count: Counter[str] = Counter()
    rings: set[str] = set()

    def look(chance: random.Random, deeper: int, pause_s: float) -> None:
        slot = int(notices[_NEWEST]) if speed == "newest" else chance.randrange(SLOTS)
        reference = _referred(notices, slot)
        if speed == "late":
            time.sleep(pause_s)
        try:
            with reader.frame(reference) as pixels:
                whole = is_whole(pixels, reference)
                if speed == "slow":
                    time.sleep(pause_s)
                if deeper:
                    look(chance, deeper - 1, pause_s)
                whole = whole and is_whole(pixels, reference)
                count["whole" if whole else "torn"] += 1
                rings.add(reference.ring)
                if number < 2:
                    notices[_READ_BY_0 + number] = int(reference.ring, 16)
        except FrameGone:
            count["gone"] += 1

    def run(seed: int) -> None:
        chance = random.Random(seed)
        while not notices[_STOP]:
            look(chance, 2 if speed == "nested" else 0, chance.uniform(0, 0.003))
            if speed != "fast":
                time.sleep(0.0002)  # the writer wants its share of the processors

    print("ready", flush=True)
    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4 if speed == "threads" else 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({**count, "rings": len(rings)}), flush=True)


def die_writing(folder: Path, lives: int) -> None:
    """Writers one after another, each killed at a random moment; the ring's file is left to the next.

    Every second one may live until both readers have seen a frame of it.
    """
    notices, chance = board(folder), random.Random(1)
    for life in range(lives):
        before = notices[_RING].copy()
        child = os.fork()
        if child == 0:
            _write_slowly(folder, notices)
        while life % 2 and not before != notices[_RING] == notices[_READ_BY_0] == notices[_READ_BY_1]:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        time.sleep(0.003)  # so that readers look at what it left
    print("done", flush=True)


def _write_slowly(folder: Path, notices: Words) -> None:
    """Write a frame row by row, so that most kills fall in the middle of one. Never returns."""
    writer = RingWriter(folder, (SIDE, SIDE), SLOTS)
    while True:
        with writer.slot(SIDE, SIDE) as slot:
            if slot is None:
                continue
            if slot.reference.generation % 2:  # announced too early; else the old frame is, for too long
                pin(notices, slot.reference)
            value = signature(writer.id, slot.reference.generation)
            for row in slot.pixels.reshape(SIDE, -1):
                row.view(np.uint64)[:] = value
        pin(notices, slot.reference)


def hold(folder: Path, *references: str) -> None:
    """Hold frames until killed. A forked child lives on until standard input ends."""
    reader = RingReader(folder)
    views = [reader.frame(FrameReference(**json.loads(each))).__enter__() for each in references]
    if os.fork() == 0:
        print("holding", len(views), flush=True)
        sys.stdin.read()
        os._exit(0)
    signal.pause()


if __name__ == "__main__":
    part, where, *rest = sys.argv[1:]
    if part == "read":
        read(Path(where), rest[0], int(rest[1]))
    elif part == "hold":
        hold(Path(where), *rest)
    elif part == "die_writing":
        die_writing(Path(where), int(rest[0]))
