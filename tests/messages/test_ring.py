"""The frame ring between real processes: no torn frame, whoever is slow, killed or started again."""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from messages.ring import BadReference, FrameGone, FrameReference, RingError, RingReader, RingWriter
from messages.ring_file import Pixels
from tests.conftest import PATIENCE_S, REPOSITORY
from tests.messages import ring_processes
from tests.messages.ring_processes import SIDE, SLOTS, board, fill, pin, stop

OVERRUNS = 100_000


@pytest.fixture
def folder(runtime: Path) -> Path:
    return runtime / "ring"


@pytest.fixture
def writer(folder: Path) -> Iterator[RingWriter]:
    made = RingWriter(folder, (4, 6))
    yield made
    made.close()


def picture(value: int, height: int = 4, width: int = 6) -> Pixels:
    return np.full((height, width, 3), value, np.uint8)


def written(writer: RingWriter, frame: Pixels) -> FrameReference:
    reference = writer.write(frame)
    assert reference is not None
    return reference


def outcome(process: subprocess.Popen[str]) -> dict[str, int]:
    """What a reading process printed at its end."""
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    counts: dict[str, int] = {"whole": 0, "gone": 0, "torn": 0, **json.loads(output)}
    return counts


def ready(*processes: subprocess.Popen[str]) -> None:
    for each in processes:
        assert each.stdout is not None
        assert each.stdout.readline()


# One frame


def test_a_frame_is_read_as_it_was_written(folder: Path, writer: RingWriter) -> None:
    frame = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    with RingReader(folder).frame(written(writer, frame)) as pixels:
        assert pixels.shape == (4, 6, 3)
        assert (pixels == frame).all()


SIZES = [(height, width) for height in range(1, 25) for width in range(1, 25) if height * width <= 24]


@given(
    frames=st.lists(st.tuples(st.sampled_from(SIZES), st.integers(0, 255)), min_size=1, max_size=30),
    slots=st.integers(1, 5),
)
@settings(deadline=None, max_examples=60)
def test_frames_of_any_size_that_fits_are_kept_until_their_slot_is_wanted(
    tmp_path_factory: pytest.TempPathFactory, frames: list[tuple[tuple[int, int], int]], slots: int
) -> None:
    folder = tmp_path_factory.mktemp("ring")
    writer, reader = RingWriter(folder, (4, 6), slots), RingReader(folder)
    references = [written(writer, picture(value, *size)) for size, value in frames]
    for (size, value), reference in zip(frames[-slots:], references[-slots:], strict=True):
        with reader.frame(reference) as pixels:
            assert (pixels == picture(value, *size)).all()
    for reference in references[:-slots]:
        with pytest.raises(FrameGone), reader.frame(reference):
            pass
    writer.close()
    reader.close()


def test_a_frame_that_is_no_plain_array_in_memory_is_copied_right(folder: Path, writer: RingWriter) -> None:
    mirrored = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)[::2, ::-2]
    with RingReader(folder).frame(written(writer, mirrored)) as pixels:
        assert (pixels == mirrored).all()


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((5, 6, 3), np.uint8),
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
        np.zeros((4, 6, 3), np.float32),
        np.zeros((0, 6, 3), np.uint8),
    ],
    ids=["too large", "grey", "with alpha", "floats", "empty"],
)
def test_what_is_no_frame_is_refused_and_no_slot_is_lost(writer: RingWriter, frame: Pixels) -> None:
    for _ in range(SLOTS + 1):
        with pytest.raises(ValueError, match="frame"):
            writer.write(frame)
    assert written(writer, picture(1)).generation == 1


def test_the_view_is_read_only_down_to_the_memory(folder: Path, writer: RingWriter) -> None:
    with RingReader(folder).frame(written(writer, picture(1))) as pixels:
        with pytest.raises(ValueError, match="read-only"):
            pixels[0, 0, 0] = 2
        with pytest.raises(ValueError, match="WRITEABLE"):
            pixels.flags.writeable = True
        child = os.fork()
        if child == 0:  # write past NumPy: the memory itself refuses
            faulthandler.disable()
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            ctypes.memset(pixels.ctypes.data, 2, 1)
            os._exit(0)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        assert (pixels == 1).all()


def test_a_slot_is_published_only_where_its_block_ends_well(folder: Path, writer: RingWriter) -> None:
    reader = RingReader(folder)
    with writer.slot(4, 6) as slot:
        assert slot is not None
        slot.pixels[...] = 7
        with pytest.raises(FrameGone, match="being overwritten"), reader.frame(slot.reference):
            pass
    with reader.frame(slot.reference) as pixels:
        assert (pixels == 7).all()
    broken = FrameReference(writer.id, slot=1, generation=2, height=4, width=6)
    with pytest.raises(ZeroDivisionError), writer.slot(4, 6):
        1 / 0  # noqa: B018
    with pytest.raises(FrameGone), reader.frame(broken):
        pass
    assert written(writer, picture(8)) == broken._replace(generation=3)


# Holding


def test_what_is_held_is_not_overwritten_and_the_oldest_of_the_others_is(
    folder: Path, writer: RingWriter
) -> None:
    reader = RingReader(folder)
    held = written(writer, picture(1))
    with reader.frame(held) as pixels:
        slots = [written(writer, picture(2)).slot for _ in range(3 * (SLOTS - 1))]
        assert slots == list(range(1, SLOTS)) * 3
        assert (pixels == 1).all()
    assert written(writer, picture(3)).slot == held.slot


def test_where_all_slots_are_held_the_frame_is_dropped_and_counted(folder: Path, writer: RingWriter) -> None:
    reader = RingReader(folder)
    references = [written(writer, picture(value)) for value in range(SLOTS)]
    with ExitStack() as holds:
        views = [holds.enter_context(reader.frame(reference)) for reference in references]
        assert writer.write(picture(99)) is None
        with writer.slot(4, 6) as slot:
            assert slot is None
        assert writer.dropped == 2
        assert [int(view[0, 0, 0]) for view in views] == list(range(SLOTS))
    assert writer.write(picture(99)) is not None
    assert writer.dropped == 2


def test_a_slot_held_twice_is_free_only_after_the_second_hold(folder: Path) -> None:
    writer, reader = RingWriter(folder, (4, 6), slots=1), RingReader(folder)
    reference = written(writer, picture(1))
    first, second = reader.frame(reference), reader.frame(reference)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert writer.write(picture(2)) is None
    with pytest.raises(FrameGone), reader.frame(reference._replace(generation=9)):
        pass  # a look in vain must not let the held slot go either
    assert writer.write(picture(2)) is None
    second.__exit__(None, None, None)
    assert writer.write(picture(2)) is not None
    writer.close()


def test_threads_that_share_a_reader_hold_the_same_slot_each_for_itself(folder: Path) -> None:
    writer, reader = RingWriter(folder, (4, 6), slots=1), RingReader(folder)
    reference = written(writer, picture(1))
    inside, leave = threading.Event(), threading.Event()

    def look() -> None:
        with reader.frame(reference):
            inside.set()
            leave.wait(PATIENCE_S)

    thread = threading.Thread(target=look)
    with reader.frame(reference):
        thread.start()
        assert inside.wait(PATIENCE_S)
    assert writer.write(picture(2)) is None
    leave.set()
    thread.join()
    assert writer.write(picture(2)) is not None
    writer.close()


def test_the_slots_of_a_killed_reader_are_free_again_though_a_child_of_it_lives_on(
    folder: Path, writer: RingWriter
) -> None:
    references = [written(writer, picture(1)) for _ in range(SLOTS)]
    holder = ring_processes.start("hold", folder, *(json.dumps(each._asdict()) for each in references))
    ready(holder)
    assert writer.write(picture(2)) is None
    holder.kill()
    holder.wait()
    assert len({written(writer, picture(2)).slot for _ in range(SLOTS)}) == SLOTS
    holder.communicate()


def test_closing_a_reader_lets_go_only_what_no_block_holds(folder: Path) -> None:
    writer, reader = RingWriter(folder, (4, 6), slots=1), RingReader(folder)
    with reader.frame(written(writer, picture(1))) as pixels:
        reader.close()
        assert writer.write(picture(2)) is None
        assert (pixels == 1).all()
    reference = written(writer, picture(2))
    with reader.frame(reference) as pixels:
        assert (pixels == 2).all()
    writer.close()


def test_a_reader_keeps_no_descriptor_after_it_is_closed(folder: Path, writer: RingWriter) -> None:
    reference = written(writer, picture(1))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        reader = RingReader(folder)
        with reader.frame(reference) as pixels:
            pass
        reader.close()
        del pixels, reader
    assert len(os.listdir("/proc/self/fd")) == before


# Forks


def test_a_forked_child_neither_frees_nor_keeps_what_its_parent_holds(folder: Path) -> None:
    writer, reader = RingWriter(folder, (4, 6), slots=1), RingReader(folder)
    reference = written(writer, picture(1))
    hold = reader.frame(reference)
    hold.__enter__()
    said, told = socket.socketpair()
    child = os.fork()
    if child == 0:
        try:
            said.close()
            hold.__exit__(None, None, None)
            with reader.frame(reference) as pixels:  # by an opening of its own
                assert (pixels == 1).all()
            with pytest.raises(ValueError, match="closed"):
                writer.write(picture(3))
            told.send(b"well")
            told.recv(1)
        finally:
            os._exit(0)
    told.close()
    assert said.recv(4) == b"well"
    assert writer.write(picture(2)) is None, "the child let its parent's frame go"
    hold.__exit__(None, None, None)
    assert writer.write(picture(2)) is not None, "the child kept its parent's frame"
    said.close()
    os.waitpid(child, 0)
    writer.close()


# Overruns, kills, restarts


def test_a_hundred_thousand_overruns_and_readers_of_every_speed_without_a_torn_frame(folder: Path) -> None:
    folder.mkdir()
    notices, writer = board(folder), RingWriter(folder, (SIDE, SIDE), SLOTS)
    speeds = ("fast", "newest", "slow", "nested", "late")
    readers = [ring_processes.start("read", folder, speed, number) for number, speed in enumerate(speeds)]
    ready(*readers)
    overruns = -SLOTS
    while overruns < OVERRUNS:
        with writer.slot(SIDE, SIDE) as slot:
            if slot is None:
                continue
            fill(slot)
        pin(notices, slot.reference)
        overruns += 1
    stop(notices)
    seen = {speed: outcome(reader) for speed, reader in zip(speeds, readers, strict=True)}
    writer.close()
    assert {speed: counts["torn"] for speed, counts in seen.items()} == dict.fromkeys(speeds, 0)
    assert seen["late"]["gone"] > 0
    assert all(seen[speed]["whole"] > 0 for speed in speeds if speed != "late"), seen


def test_writers_killed_at_random_moments_leave_no_torn_frame_and_readers_follow_the_next(
    folder: Path,
) -> None:
    folder.mkdir()
    notices = board(folder)
    readers = [
        ring_processes.start("read", folder, speed, number)
        for number, speed in enumerate(("fast", "threads"))
    ]
    ready(*readers)
    lives = 50
    mortal = ring_processes.start("die_writing", folder, lives)
    assert mortal.communicate(timeout=60)[0] == "done\n"
    stop(notices)
    for counts in map(outcome, readers):
        assert counts["torn"] == 0
        assert counts["gone"] > 0
        assert counts["rings"] >= lives / 2, counts
    assert len(list(folder.glob("*.ring"))) == 1, "each writer removes what the one before left"
    RingWriter(folder, (4, 6)).close()
    assert list(folder.glob("*.ring")) == []


def test_a_reader_follows_a_restarted_writer_and_keeps_what_it_holds_of_the_old_ring(folder: Path) -> None:
    reader, first = RingReader(folder), RingWriter(folder, (4, 6))
    old = written(first, picture(1))
    with reader.frame(old) as held:
        second = RingWriter(folder, (8, 8))
        new = written(second, picture(2, 8, 8))
        with reader.frame(new) as pixels:
            assert (pixels == 2).all()
        with pytest.raises(FrameGone), reader.frame(old):
            pass
        assert (held == 1).all()
        with reader.frame(new) as pixels:  # and the old reference didn't lead it back
            assert (pixels == 2).all()
    assert [path.name for path in folder.iterdir()] == [f"frames-{second.id}.ring"]
    second.close()
    first.close()


def test_a_reader_needs_no_writer_to_start_with(folder: Path) -> None:
    reader = RingReader(folder)
    with pytest.raises(FrameGone), reader.frame(FrameReference("0" * 16, 0, 1, 4, 6)):
        pass
    writer = RingWriter(folder, (4, 6))
    with reader.frame(written(writer, picture(5))) as pixels:
        assert (pixels == 5).all()
    writer.close()


def test_a_closed_writer_leaves_nothing_and_says_so_when_used(folder: Path, writer: RingWriter) -> None:
    writer.close()
    writer.close()
    assert list(folder.iterdir()) == []
    with pytest.raises(ValueError, match="closed"):
        writer.write(picture(1))


# Hostile references and files


@given(
    slot=st.integers(), generation=st.integers(), height=st.integers(), width=st.integers(), ring=st.text()
)
@settings(deadline=None, max_examples=300)
def test_a_corrupt_reference_is_refused_whatever_it_says(
    tmp_path_factory: pytest.TempPathFactory, slot: int, generation: int, height: int, width: int, ring: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "hostile"
    writer, reader = RingWriter(folder, (4, 6)), RingReader(folder)
    good = written(writer, picture(1))
    for changes in (
        {"ring": ring}, {"slot": slot}, {"generation": generation}, {"height": height}, {"width": width},
        {"height": height, "width": width},
        {"slot": slot, "generation": generation, "height": height, "width": width},
    ):  # fmt: skip
        bad = good._replace(**changes)
        if bad != good:
            with pytest.raises(FrameGone), reader.frame(bad):
                pass
    with reader.frame(good) as pixels:
        assert (pixels == 1).all()
    writer.close()
    reader.close()


@pytest.mark.parametrize("slot", [-1, SLOTS, 1 << 70])
def test_a_slot_that_is_not_there_is_a_bad_reference(folder: Path, writer: RingWriter, slot: int) -> None:
    reference = written(writer, picture(1))._replace(slot=slot)
    with pytest.raises(BadReference), RingReader(folder).frame(reference):
        pass


@pytest.mark.parametrize(
    "ring", ["../../etc/passwd", "a/../b", "", "0" * 15, "0" * 17, "0" * 15 + "\n", "é" * 16]
)
def test_an_id_never_leads_out_of_the_folder(folder: Path, writer: RingWriter, ring: str) -> None:
    with (
        pytest.raises(BadReference, match="names no ring"),
        RingReader(folder).frame(written(writer, picture(1))._replace(ring=ring)),
    ):
        pass


@pytest.mark.parametrize(
    "content", [b"", b"x", bytes(4096), b"\xff" * 8192], ids=["empty", "short", "zeros", "ones"]
)
def test_a_file_that_is_no_ring_is_not_mapped(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / f"frames-{'0' * 16}.ring").write_bytes(content)
    with pytest.raises(BadReference), RingReader(folder).frame(FrameReference("0" * 16, 0, 1, 1, 1)):
        pass


def test_a_link_and_a_pipe_in_the_rings_place_are_not_followed(folder: Path, writer: RingWriter) -> None:
    reference = written(writer, picture(1))
    (folder / f"frames-{'0' * 16}.ring").symlink_to(f"frames-{writer.id}.ring")
    os.mkfifo(folder / f"frames-{'1' * 16}.ring")
    for ring in ("0" * 16, "1" * 16):
        with pytest.raises(FrameGone), RingReader(folder).frame(reference._replace(ring=ring)):
            pass


# No room


def test_no_room_is_found_at_the_start_and_named_with_the_remedy(folder: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path; from messages.ring import RingError, RingWriter\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "RingWriter(Path(sys.argv[1]), (100, 100)).close()\n"
        "try: RingWriter(Path(sys.argv[1]), (480, 640))\n"
        "except RingError as error: print(error)"
    )
    output = subprocess.check_output(
        [sys.executable, "-c", program, str(folder)], cwd=REPOSITORY, text=True, timeout=30
    )
    assert "7.0 MiB" in output
    assert "make room there, or take smaller frames" in output
    assert list(folder.iterdir()) == []


def test_a_full_memory_file_system_is_no_bus_error_later(runtime: Path) -> None:
    full = runtime / "small"
    full.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(full)], check=False).returncode:
        pytest.skip("only root may mount a file system")
    try:
        with pytest.raises(RingError, match="No room for the frame ring"):
            RingWriter(full, (480, 640))
        assert list(full.iterdir()) == []
        small = RingWriter(full, (64, 64))
        for value in range(2 * SLOTS):
            written(small, picture(value, 64, 64))
        small.close()
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_a_folder_that_cannot_be_made_is_named(runtime: Path) -> None:
    (runtime / "file").write_bytes(b"")
    with pytest.raises(RingError, match=r"can't be made in .*file/ring.*paths\.runtime"):
        RingWriter(runtime / "file" / "ring", (4, 6))


@pytest.mark.parametrize(("capacity", "slots"), [((0, 6), 8), ((4, 1 << 20), 8), ((4, 6), 0), ((4, 6), 1000)])
def test_a_ring_out_of_reason_is_refused(folder: Path, capacity: tuple[int, int], slots: int) -> None:
    with pytest.raises(ValueError, match="there can be no ring"):
        RingWriter(folder, capacity, slots)


def test_the_ring_is_used_without_the_projects_dependencies(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; import messages.ring\n"
        "messages.ring.RingWriter(Path(sys.argv[1]), (4, 6)).close()\n"
        "print([name for name in ('pydantic', 'zmq', 'cv2') if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, str(folder)]
    assert subprocess.check_output(command, cwd=REPOSITORY, text=True) == "[]\n"
