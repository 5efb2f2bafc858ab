"""A file from outside is opened in an isolated process, and its answer is taken only where it is sound.

The process (`models.importing.subprocess_main`) has limits on memory, processor time and open files. It may
write no file, and is killed when its time is up or its parent is gone. It gets the file already open and
answers through a pipe; the answer is checked like anything else from outside.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import selectors
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from messages import durable
from messages.errors import ErrorCode
from messages.text import file_name
from models.bundle import zipped
from models.bundle.acceptance import Proof, Terms
from models.bundle.bundle import Bundle
from models.bundle.digits import DIGITS, GOLDEN_FILE, require_digits
from models.bundle.manifest import INBOX_TERMS, MANIFEST_FILE, MAX_FILE_BYTES, MAX_SOURCE_BYTES, MODEL_FILE
from models.importing.formats import refuse_folder
from models.refusal import Refusal

_MAX_ANSWER = sum(MAX_FILE_BYTES.values()) + (1 << 20)
_LOOK_S = 0.05
_RUN_BY = {"name", "version", "input", "calibration", "labels"}
"""What of a manifest running a model takes."""


@dataclass(frozen=True)
class ImportLimits:
    """What the process may use: many times what a digit model needs, on a Pi that is busy, too."""

    memory_bytes: int = 1 << 30
    """Of address space: libraries take a third of it."""
    cpu_s: int = 20
    wall_s: float = 60.0
    open_files: int = 32


DEFAULT_LIMITS = ImportLimits()


@dataclass(frozen=True)
class Import:
    """A model file that became a bundle."""

    bundle: Bundle
    proof: Proof


def intake(path: str | os.PathLike[str]) -> Literal["bundle", "model"]:
    """Whether a file is a bundle's zip or a model, told by its first bytes and names. Raises Refusal."""
    with _opened(Path(path)) as descriptor:
        head = os.pread(descriptor, 4096, 0)
        tail = os.pread(descriptor, 4096, max(0, os.fstat(descriptor).st_size - 4096))
    is_zip = head.startswith(zipped.SIGNATURE)
    return "bundle" if is_zip and MANIFEST_FILE.encode() in head + tail else "model"


def source_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hex. Raises Refusal where it is no regular file, too large or not there."""
    with _opened(Path(path)) as descriptor, open(descriptor, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def import_file(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    golden: Bundle,
    labels: Sequence[str] = DIGITS,
    terms: Terms = INBOX_TERMS,
    limits: ImportLimits = DEFAULT_LIMITS,
    cancelled: Callable[[], bool] | None = None,
) -> Import:
    """Make the `.h5`, `.keras` or `.tflite` at `path` a bundle in `folder`, which is empty, on refusal still.

    On the golden digits of the bundle `golden` it is found out how the network wants its digits, its
    calibration is fitted, and it is judged by `terms`. Takes as long as `limits` allow. Raises Refusal.
    """
    path, folder = Path(path), Path(folder)
    with _opened(path) as descriptor:
        before = os.fstat(descriptor)
        job = {
            "task": "convert",
            "name": file_name(path),
            "saved": before.st_mtime,
            "labels": list(labels),
            "golden": base64.b64encode(golden.golden_bytes).decode(),
            "golden_labels": list(golden.manifest.labels),
            "terms": {"accuracy": terms.accuracy, "latency_ms": terms.latency_ms},
        }
        answer, model = _throwaway(job, descriptor, limits, cancelled)
        after = os.fstat(descriptor)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise Refusal(
            ErrorCode.CHANGED,
            f"{file_name(path)} changed while it was read; wait until the copy is finished.",
        )
    files = {
        MANIFEST_FILE: str(answer.get("manifest")).encode(),
        MODEL_FILE: model,
        GOLDEN_FILE: golden.golden_bytes,
    }
    Bundle.from_files(files, folder)
    try:
        for name, content in files.items():
            durable.write_file(folder / name, content)
    except OSError as error:
        for name in files:
            (folder / name).unlink(missing_ok=True)
        raise Refusal(
            ErrorCode.NO_SPACE, f"The bundle can't be written to {folder}: {error.strerror}."
        ) from None
    return Import(Bundle.load(folder), _proof(answer))


def prove(
    bundle: Bundle,
    *,
    golden: Bundle | None = None,
    terms: Terms | None = None,
    limits: ImportLimits = DEFAULT_LIMITS,
    cancelled: Callable[[], bool] | None = None,
) -> Proof:
    """Open the bundle's model for the first time and run the golden test on its own digits, or on `golden`'s.

    The eye that the bundle brings must find golden digits on a page. Judged by its manifest's terms, or by
    `terms`. Raises Refusal.
    """
    require_digits(bundle.manifest.labels, f"{bundle.manifest.name} {bundle.manifest.version}")
    due = terms or bundle.manifest.golden
    job = {
        "task": "prove",
        "manifest": bundle.manifest.model_dump(mode="json", include=_RUN_BY),
        "golden": base64.b64encode((golden or bundle).golden_bytes).decode(),
        "golden_labels": list((golden or bundle).manifest.labels),
        "terms": {"accuracy": due.accuracy, "latency_ms": due.latency_ms},
        "eye": base64.b64encode(bundle.eye).decode() if bundle.eye is not None else None,
    }
    descriptor = os.memfd_create("model", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(bundle.model)
        os.lseek(descriptor, 0, os.SEEK_SET)
        answer, _ = _throwaway(job, descriptor, limits, cancelled)
    finally:
        os.close(descriptor)
    return _proof(answer)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A regular file of a model's size, open for reading; no link is followed, no pipe waited on."""
    if path.is_symlink():
        raise Refusal(ErrorCode.NOT_A_FILE, f"{file_name(path)} is a link; put the file itself there.")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise Refusal(ErrorCode.MISSING, f"{file_name(path)} is not there any more; copy it again.") from None
    except OSError as error:
        raise Refusal(ErrorCode.UNREADABLE, f"{file_name(path)} can't be read: {error.strerror}.") from None
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            refuse_folder(path)
        if not stat.S_ISREG(status.st_mode):
            raise Refusal(
                ErrorCode.NOT_A_FILE, f"{file_name(path)} is no regular file; put the model itself there."
            )
        if status.st_size == 0:
            raise Refusal(ErrorCode.EMPTY, f"{file_name(path)} is empty; copy it again.")
        if status.st_size > MAX_SOURCE_BYTES:
            raise Refusal(
                ErrorCode.TOO_LARGE,
                f"{file_name(path)} has {status.st_size} bytes; {MAX_SOURCE_BYTES} are allowed.",
            )
        yield descriptor
    finally:
        os.close(descriptor)


# --- the process


def _throwaway(
    job: dict[str, Any], source: int, limits: ImportLimits, cancelled: Callable[[], bool] | None
) -> tuple[dict[str, Any], bytes]:
    """What the process answers: an object, and the bytes behind it. Raises Refusal."""
    answers, end = os.pipe()
    deadline = time.monotonic() + limits.wall_s
    try:
        process = subprocess.Popen(
            [
                sys.executable,
                "-B",
                "-m",
                "models.importing.subprocess_main",
                str(source),
                str(end),
                json.dumps(asdict(limits)),
            ],
            cwd=Path(__file__).resolve().parents[2],
            env={
                "PATH": os.defpath,
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                "LC_ALL": "C.UTF-8",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(source, end),
        )
    finally:
        os.close(end)
    try:
        content = _exchange(process, json.dumps(job).encode(), answers, deadline, cancelled)
    finally:
        os.close(answers)
        process.kill()
        code = process.wait()
    return _understood(content, code, limits)


def _exchange(
    process: subprocess.Popen[bytes],
    job: bytes,
    answers: int,
    deadline: float,
    cancelled: Callable[[], bool] | None,
) -> bytes:
    """Give the process its job, and take what it answers, until it ends or the time is up."""
    assert process.stdin is not None
    content = bytearray()
    left = memoryview(job)
    os.set_blocking(process.stdin.fileno(), False)
    with selectors.DefaultSelector() as selector, process.stdin as task:
        selector.register(task, selectors.EVENT_WRITE)
        selector.register(answers, selectors.EVENT_READ)
        while True:
            if time.monotonic() > deadline or (cancelled is not None and cancelled()):
                raise Refusal(
                    ErrorCode.TIMED_OUT, "Reading or testing the model took too long and was stopped."
                )
            for key, _ in selector.select(_LOOK_S):
                if key.fileobj is task:
                    try:
                        left = left[os.write(task.fileno(), left[: 1 << 16]) :]
                    except BrokenPipeError:
                        left = left[:0]
                    if not left:
                        selector.unregister(task)
                        task.close()
                    continue
                part = os.read(answers, 1 << 20)
                content += part
                if not part or len(content) > _MAX_ANSWER:
                    return bytes(content)


def _understood(content: bytes, code: int, limits: ImportLimits) -> tuple[dict[str, Any], bytes]:
    head, newline, rest = content.partition(b"\n")
    try:
        answer = json.loads(head) if newline else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or answer.get("size") != len(rest):
        if code == -signal.SIGXCPU:
            raise Refusal(
                ErrorCode.TIMED_OUT,
                f"Reading or testing the model took more than {limits.cpu_s} s and was stopped.",
            )
        raise Refusal(
            ErrorCode.CRASHED,
            f"The model crashed the process that tried it ({_ended(code)}); save the model anew.",
        )
    if "refusal" in answer:
        try:
            reason = ErrorCode(str(answer["refusal"]))
        except ValueError:
            reason = ErrorCode.CRASHED
        raise Refusal(reason, str(answer.get("sentence"))[:1000])
    return answer, rest


def _ended(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _proof(answer: dict[str, Any]) -> Proof:
    try:
        proof = answer["proof"]
        return Proof(float(proof["accuracy"]), float(proof["latency_ms"]), int(proof["digits"]))
    except (KeyError, TypeError, ValueError):
        raise Refusal(
            ErrorCode.CRASHED, "The process that tried the model gave no sensible answer."
        ) from None
