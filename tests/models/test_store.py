"""The store: one whole active model, whatever happens and whenever."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from messages import durable
from messages.errors import ErrorCode
from models.bundle.bundle import Bundle
from models.refusal import Refusal
from models.store import Store
from tests.disk import Disk
from tests.models.making import FACTORY, rewritten


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """Six models, alike but for their release."""
    folder = tmp_path_factory.mktemp("bundles")
    return [release(folder / str(number), number) for number in range(2, 8)]


def release(folder: Path, number: int) -> Bundle:
    """A small one: a store looks at the bytes of a model, and never into it."""
    files = {"model.tflite": b"model" * 100, "golden.npz": b"golden" * 10}
    return Bundle.load(rewritten(folder, lambda manifest: manifest.update(release=number), files))


@contextmanager
def opened(root: Path, factory: Path = FACTORY) -> Iterator[Store]:
    store = Store(root, factory)
    try:
        yield store
    finally:
        store.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with opened(tmp_path / "models") as store:
        yield store


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder on tmpfs: a kill doesn't need the disk to be waited for, as a power cut would."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def refusal(act: Callable[[], object]) -> ErrorCode:
    with pytest.raises(Refusal) as refused:
        act()
    return refused.value.reason


def test_a_new_store_reads_with_the_shipped_model(store: Store) -> None:
    assert store.active == store.factory == Bundle.load(FACTORY).digest
    assert store.previous is None
    assert Bundle.load(store.root / "active").digest == store.active


def test_what_is_kept_is_what_was_checked_and_can_not_be_written(store: Store, bundles: list[Bundle]) -> None:
    digest = store.add(bundles[0])
    folder = store.root / f"sha256-{digest}"
    assert store.load(digest).files() == bundles[0].files()
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o444}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o555


def test_activate_and_back(store: Store, bundles: list[Bundle]) -> None:
    one, two = (store.add(bundle) for bundle in bundles[:2])
    store.activate(one)
    store.activate(two)
    assert (store.active, store.previous) == (two, one)
    assert store.previous == one
    store.activate(one)
    assert (store.active, store.previous) == (one, two)
    store.activate(one)
    assert (store.active, store.previous) == (one, two), "the same once more changes nothing"


def test_refusals(store: Store, bundles: list[Bundle]) -> None:
    assert store.previous is None
    assert refusal(lambda: store.activate("0" * 64)) == "unknown_model"
    assert refusal(lambda: store.activate("../../etc")) == "unknown_model"
    assert refusal(lambda: store.remove("0" * 64)) == "unknown_model"
    store.activate(store.add(bundles[0]))
    assert refusal(lambda: store.remove(store.active)) == "in_use"
    assert refusal(lambda: store.remove(store.factory)) == "in_use"
    assert refusal(lambda: Store(store.root)) == "store_locked"


def test_retention_takes_the_oldest_and_never_what_is_needed(store: Store, bundles: list[Bundle]) -> None:
    digests = []
    for age, bundle in enumerate(bundles):
        digests.append(store.add(bundle))
        folder = store.root / f"sha256-{digests[-1]}"
        os.utime(folder, (1000 + age, 1000 + age))
    store.activate(digests[0])
    store.activate(digests[1])
    store.retain(keep=2)
    assert {entry.digest: entry.state for entry in store.entries()} == {
        store.factory: "factory",
        digests[0]: "previous",
        digests[1]: "active",
        digests[4]: "kept",
        digests[5]: "kept",
    }


def test_a_full_disk_is_said_before_anything_is_written(
    store: Store, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = os.statvfs(store.root)
    monkeypatch.setattr("models.store.SPARE_BYTES", usage.f_blocks * usage.f_frsize)
    before = sorted(store.root.iterdir())
    assert refusal(lambda: store.add(bundles[0])) == "no_space"
    assert sorted(store.root.iterdir()) == before


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half(
    store: Store, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(step: str) -> None:
        if step == "before write to model.tflite":
            raise OSError(28, "No space left on device")

    before = sorted(store.root.iterdir())
    monkeypatch.setattr(durable, "fault_point", full)
    assert refusal(lambda: store.add(bundles[0])) == "no_space"
    assert sorted(store.root.iterdir()) == before


def test_on_a_read_only_disk_what_is_there_can_be_read_and_once_that_is_put_right_changed(
    make_disk: Callable[[int], Disk], bundles: list[Bundle]
) -> None:
    disk = make_disk(64)
    root = disk.folder / "models"
    with opened(root) as store:
        store.activate(store.add(bundles[0]))
        damaged = store.add(bundles[1])
        model = root / f"sha256-{damaged}" / "model.tflite"
        model.chmod(0o644)
        model.write_bytes(b"cut off")
    disk.read_only()
    with opened(root) as store:
        assert "is read-only" in store.problem
        assert (store.active, store.load(store.active).digest) == (bundles[0].digest, bundles[0].digest)
        assert {entry.state for entry in store.entries()} == {"active", "previous", "damaged"}
        assert damaged not in store.digests
        for change in (
            lambda: store.add(bundles[2]),
            lambda: store.activate(store.factory),
            lambda: store.remove(damaged),
            lambda: store.workspace().__enter__(),
        ):
            with pytest.raises(
                Refusal, match=r"No model can be changed: the disk that holds .* is read-only"
            ):
                change()
        disk.writable()
        store.try_again()
        assert store.problem == ""
        assert [f"kept as {root / 'damaged-'}{damaged}" in each for each in store.set_aside] == [True]
        store.activate(store.factory)
        assert store.active == store.factory


def test_where_no_store_can_be_made_the_shipped_model_is_there(make_disk: Callable[[int], Disk]) -> None:
    disk = make_disk(64)
    disk.read_only()
    with opened(disk.folder / "models") as store:
        assert [entry.state for entry in store.entries()] == ["active"]
        assert store.load(store.active).digest == store.factory
        disk.writable()
        store.try_again()
        assert (store.root / "active").is_dir()


def test_a_damaged_active_model_gives_way_to_the_previous(tmp_path: Path, bundles: list[Bundle]) -> None:
    with opened(tmp_path) as store:
        one, two = (store.add(bundle) for bundle in bundles[:2])
        store.activate(one)
        store.activate(two)
    model = tmp_path / f"sha256-{two}" / "model.tflite"
    model.chmod(0o644)
    model.write_bytes(b"rust")
    with opened(tmp_path) as store:
        assert store.active == one
        assert [two in each for each in store.set_aside] == [True]
        assert (tmp_path / f"damaged-{two}" / "model.tflite").read_bytes() == b"rust"
        assert Bundle.load(tmp_path / "active").digest == one


def test_a_new_shipped_model_comes_in_and_the_old_one_is_named(tmp_path: Path) -> None:
    newer = rewritten(tmp_path / "newer", lambda manifest: manifest.update(release=9))
    with opened(tmp_path / "models") as store:
        old = store.factory
    updated = Store(tmp_path / "models", newer)
    assert updated.factory == Bundle.load(newer).digest
    assert updated.active == old, "what reads is not changed behind the updater's back"
    updated.close()


def test_a_workspace_is_gone_afterwards(store: Store) -> None:
    with store.workspace() as folder:
        (folder / "model.tflite").write_bytes(b"half")
    assert not folder.exists()


# --- kills


def end_at(count: int, seen: list[str]) -> Callable[[str], None]:
    """A fault point that kills this process at its `count`th step; -1: never."""

    def step(what: str) -> None:
        seen.append(what)
        if len(seen) == count + 1:
            os.kill(os.getpid(), signal.SIGKILL)

    return step


def day_of_a_store(root: Path, bundles: list[Bundle]) -> None:
    """Everything a store does, once: the first opening, adding, activating, back, keeping few.

    The last of the bundles is the shipped one.
    """
    store = Store(root, bundles[-1].folder)
    for bundle in bundles[:3]:
        store.add(bundle)
    store.activate(bundles[0].digest)
    store.activate(bundles[1].digest)
    store.activate(bundles[0].digest)
    with store.workspace() as folder:
        (folder / "scratch").write_bytes(b"scratch")
    store.retain(keep=0)
    store.close()


def in_child(act: Callable[[], None]) -> int:
    """The status of a forked child that does it."""
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def test_killed_at_every_step_there_is_one_whole_active_model(in_memory: Path, bundles: list[Bundle]) -> None:
    seen: list[str] = []
    durable.fault_point = end_at(-1, seen)
    try:
        day_of_a_store(in_memory / "whole", bundles)
    finally:
        durable.fault_point = lambda step: None
    assert len(seen) > 200
    allowed = {bundles[-1].digest, bundles[0].digest, bundles[1].digest}

    for count in range(len(seen)):
        root = in_memory / str(count)

        def killed(root: Path = root, count: int = count) -> None:
            durable.fault_point = end_at(count, [])
            day_of_a_store(root, bundles)

        assert os.WIFSIGNALED(in_child(killed)), seen[count]
        link = root / "active"
        if link.is_symlink():  # others may read at any instant, before anyone recovers
            assert Bundle.load(link).digest in allowed, seen[count]
        with opened(root, bundles[-1].folder) as store:
            assert Bundle.load(root / "active").digest == store.active in allowed, seen[count]
            left = [
                path.name for path in root.iterdir() if path.name.startswith(".") and path.name != ".lock"
            ]
            assert left == [], seen[count]
            assert not (root / "outgoing").is_symlink()
            assert store.previous != store.active
            for entry in store.entries():
                store.load(entry.digest)


def test_killed_while_recovering_it_recovers_the_next_time(in_memory: Path, bundles: list[Bundle]) -> None:
    """A store left in the middle of an activation, whose recovery is killed at each of its steps, too."""

    def left_behind(root: Path) -> None:
        with opened(root) as store:
            store.add(bundles[0])
        (root / ".adding-x").mkdir()
        (root / ".adding-x" / "model.tflite").write_bytes(b"half")
        (root / "outgoing").symlink_to(f"sha256-{store.factory}")
        (root / "active").unlink()
        (root / "active").symlink_to(f"sha256-{bundles[0].digest}")

    for count in range(100):
        root = in_memory / str(count)
        left_behind(root)

        def killed(root: Path = root, count: int = count) -> None:
            durable.fault_point = end_at(count, [])
            Store(root)

        ended = in_child(killed)
        with opened(root) as store:
            assert store.active == bundles[0].digest
            assert store.previous == store.factory
        if not os.WIFSIGNALED(ended):
            return  # fewer steps than that
    pytest.fail("recovering never came to its end")


# --- any order of anything


class AnyOrder(RuleBasedStateMachine):
    """A model of the store beside the store; the rules are its commands, in any order."""

    models: list[Bundle]
    folder: Path
    made = 0

    @initialize()
    def open(self) -> None:
        type(self).made += 1
        self.root = self.folder / str(self.made)
        self.store = Store(self.root)
        self.kept = {self.store.factory}
        self.active: str = self.store.factory
        self.previous: str | None = None

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    @rule(index=st.integers(0, 3))
    def add(self, index: int) -> None:
        self.kept.add(self.store.add(self.models[index]))

    @rule(index=st.integers(0, 3))
    def activate(self, index: int) -> None:
        digest = self.models[index].digest
        if digest not in self.kept:
            assert refusal(lambda: self.store.activate(digest)) == "unknown_model"
            return
        self.store.activate(digest)
        if digest != self.active:
            self.active, self.previous = digest, self.active

    @rule()
    def rollback(self) -> None:
        if self.previous is None:
            return
        self.store.activate(self.previous)
        self.active, self.previous = self.previous, self.active

    @rule(index=st.integers(0, 3))
    def remove(self, index: int) -> None:
        digest = self.models[index].digest
        if digest not in self.kept:
            assert refusal(lambda: self.store.remove(digest)) == "unknown_model"
        elif digest in (self.active, self.previous):
            assert refusal(lambda: self.store.remove(digest)) == "in_use"
        else:
            self.store.remove(digest)
            self.kept.remove(digest)

    @rule(keep=st.integers(0, 2))
    def retain(self, keep: int) -> None:
        self.store.retain(keep)
        assert set(self.store.digests) <= self.kept
        self.kept = set(self.store.digests)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = Store(self.root)

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "store"):
            assert (self.store.active, self.store.previous) == (self.active, self.previous)
            assert {entry.digest for entry in self.store.entries()} == self.kept
            assert {self.active, self.store.factory} <= self.kept


def test_any_order_of_commands(in_memory: Path, bundles: list[Bundle]) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    AnyOrder.models, AnyOrder.folder, AnyOrder.made = bundles, in_memory, 0
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_entries_say_what_list_shows(store: Store, bundles: list[Bundle]) -> None:
    store.add(bundles[0])
    newest = store.entries()[0]
    assert newest.manifest is not None
    assert newest.manifest.release == 2
    assert newest.size == bundles[0].size
    assert not newest.signed


# --- what can't be read for the moment


def test_what_can_not_be_read_stays_and_is_left_out_and_said_until_it_can(
    tmp_path: Path, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions after a restore, or a disk that fails for a moment: nothing is thrown away over it."""
    with opened(tmp_path) as store:
        one, two = (store.add(bundle) for bundle in bundles[:2])
        store.activate(one)
        store.activate(two)
    failing = unreadable(monkeypatch, two)
    with opened(tmp_path) as store:
        assert two not in store.digests
        assert store.active == store.factory, "what reads meanwhile"
        assert "Input/output error" in store.problem
        assert {entry.digest: entry.state for entry in store.entries()}[two] == "unreadable"
        assert refusal(lambda: store.add(bundles[1])) == "unreadable"
        assert not store.closed, "other models can be changed"
        store.try_again()
        assert two not in store.digests
        failing.clear()
        store.try_again()
        assert (store.problem, store.active, store.previous) == ("", two, one)
        assert store.set_aside == ()


def test_a_model_that_can_not_be_read_can_be_left_and_gone_back_to(
    tmp_path: Path, bundles: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as store:
        one = store.add(bundles[0])
        store.activate(one)
    failing = unreadable(monkeypatch, one)
    with opened(tmp_path) as store:
        store.activate(store.factory)
        assert (store.active, store.previous) == (store.factory, None)
        failing.clear()
        store.try_again()
        assert (store.active, store.previous) == (store.factory, one)


def unreadable(monkeypatch: pytest.MonkeyPatch, digest: str) -> set[str]:
    """The disk fails at the model of that digest, until the returned set is emptied."""
    failing = {digest}
    real = os.open

    def opening(path: str | os.PathLike[str], flags: int, *more: int, **also: int) -> int:
        if "model.tflite" in str(path) and any(each in str(path) for each in failing):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return real(path, flags, *more, **also)

    monkeypatch.setattr("models.bundle.bundle.os.open", opening)
    return failing


def test_a_kept_bundle_that_is_damaged_meanwhile_is_shown_as_damaged(
    store: Store, bundles: list[Bundle]
) -> None:
    digest = store.add(bundles[0])
    model = store.root / f"sha256-{digest}" / "model.tflite"
    model.chmod(0o644)
    model.write_bytes(b"x" + model.read_bytes()[1:])
    entry = next(entry for entry in store.entries() if entry.digest == digest)
    assert (entry.state, entry.manifest) == ("damaged", None)
    assert "SHA-256 differs" in entry.problem


def test_only_a_few_damaged_bundles_are_kept_aside(tmp_path: Path, bundles: list[Bundle]) -> None:
    with opened(tmp_path) as store:
        for bundle in bundles:
            (store.root / f"sha256-{store.add(bundle)}" / "model.tflite").chmod(0o644)
    for path in tmp_path.glob("sha256-*/model.tflite"):
        if bundles[0].model == path.read_bytes():
            path.write_bytes(b"rust")
    with opened(tmp_path) as store:
        assert len(store.set_aside) == len(bundles)
        assert len([*tmp_path.glob("damaged-*")]) == 3


# --- a disk that refuses


def refuse_at(count: int, seen: list[str], *, ever_after: bool) -> Callable[[str], None]:
    """A fault point at which the disk refuses its `count`th step, and all that follow where `ever_after`."""

    def step(what: str) -> None:
        seen.append(what)
        if len(seen) == count + 1 or (ever_after and len(seen) > count):
            raise OSError(errno.EIO, "Input/output error", what)

    return step


def _activate(store: Store, bundles: list[Bundle]) -> None:
    store.activate(bundles[1].digest)


def _add(store: Store, bundles: list[Bundle]) -> None:
    store.add(bundles[3])


def _remove(store: Store, bundles: list[Bundle]) -> None:
    store.remove(bundles[2].digest)


@pytest.mark.parametrize("ever_after", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("change", [_activate, _add, _remove])
def test_a_change_that_the_disk_refuses_anywhere_is_undone_or_finished_before_it_is_answered(
    change: Callable[[Store, list[Bundle]], None],
    ever_after: bool,
    in_memory: Path,
    bundles: list[Bundle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def state(store: Store) -> tuple[str, str | None, frozenset[str]]:
        return store.active, store.previous, frozenset(store.digests)

    outcomes = set()
    for count in itertools.count():
        root, seen = in_memory / str(count), list[str]()
        with opened(root) as store:
            for bundle in bundles[:3]:
                store.add(bundle)
            store.activate(bundles[0].digest)
            before = state(store)
            monkeypatch.setattr(durable, "fault_point", refuse_at(count, seen, ever_after=ever_after))
            try:
                change(store, bundles)
                done = True
            except Refusal:
                done = False
            monkeypatch.setattr(durable, "fault_point", lambda step: None)
            now = state(store)
            assert (now != before) == done, seen[-1]
        with opened(root) as again:
            assert state(again) == now, f"{seen[-1]}: the next start changes it"
            assert again.problem == ""
            left = {path.name for path in root.iterdir() if path.name[0] == "." or path.name == "outgoing"}
            assert left == {".lock"}, seen[-1]
        outcomes.add(done)
        if len(seen) <= count:
            break
    assert outcomes == {False, True}
