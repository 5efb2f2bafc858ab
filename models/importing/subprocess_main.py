"""The isolated process in which a file from outside is opened.

`models.importing.isolated` starts it as `python -m models.importing.subprocess_main SOURCE ANSWER LIMITS`
with two open files: the model, and the pipe for the answer. The job is on standard input, and the limits are
set before anything is read. The process writes no file and needs no network.
"""

from __future__ import annotations

import ctypes
import json
import resource
import signal
import sys
from base64 import b64decode
from dataclasses import asdict
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

_PR_SET_PDEATHSIG = 1


def main() -> None:
    source, answer, limits = int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])
    _confine(limits)
    job = json.loads(sys.stdin.buffer.read())
    head: dict[str, Any]
    rest = b""
    try:
        head, rest = _work(job, source)
    except MemoryError:
        head = {
            "refusal": "out_of_memory",
            "sentence": f"The model needs more than the {limits['memory_bytes'] >> 20} MiB it may use; "
            "build a smaller network.",
        }
    except Exception as error:
        head = _refusal(error)
    with open(answer, "wb") as pipe:
        pipe.write(json.dumps({**head, "size": len(rest)}).encode() + b"\n" + rest)


def _confine(limits: dict[str, Any]) -> None:
    """From here on: no more than this, and not after its parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for what, limit in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_NOFILE, limits["open_files"]),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(what)
        value = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(what, (value, value if what != resource.RLIMIT_CPU else value + 1))
    signal.alarm(int(limits["wall_s"]) + 1)


def _work(job: dict[str, Any], source: int) -> tuple[dict[str, Any], bytes]:
    with open(source, "rb") as file:
        content = file.read()
    return _convert(job, content) if job["task"] == "convert" else _prove(job, content)


def _convert(job: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    from models.bundle.digits import golden_digits
    from models.bundle.manifest import MANIFEST_FILE, MODEL_FILE
    from models.importing.conversion import KerasSource, convert

    packed = b64decode(job["golden"])
    digits = golden_digits(packed, job["golden_labels"])
    saved = datetime.fromtimestamp(job["saved"], UTC)
    source = KerasSource(job["name"], content, saved)
    files, proof = convert(source, packed, digits, job["labels"], _as_object(job["terms"]))
    return {"manifest": files[MANIFEST_FILE].decode(), "proof": asdict(proof)}, files[MODEL_FILE]


def _prove(job: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
    """The bundle was checked by whoever started this; pydantic once more would take half of the time."""
    from models.bundle.acceptance import judge, run_golden
    from models.bundle.digits import golden_digits
    from models.inference.runtime import Classifier

    manifest, terms = _as_object(job["manifest"]), _as_object(job["terms"])
    digits = golden_digits(b64decode(job["golden"]), job["golden_labels"])
    bundle: Any = SimpleNamespace(manifest=manifest, model=content)
    proof = run_golden(Classifier(bundle), digits)
    judge(proof, terms, f"{manifest.name} {manifest.version}")
    if job["eye"] is not None:  # loads OpenCV, which the model itself does without
        from models.eye.acceptance import check_eye

        check_eye(b64decode(job["eye"]), digits)
    return {"proof": asdict(proof)}, b""


def _as_object(content: Any) -> Any:
    """JSON's objects with attributes."""
    return json.loads(json.dumps(content), object_hook=lambda fields: SimpleNamespace(**fields))


def _refusal(error: Exception) -> dict[str, Any]:
    from messages.errors import ErrorCode
    from models.refusal import Refusal

    if isinstance(error, Refusal):
        return {"refusal": error.reason, "sentence": str(error)}
    return {
        "refusal": ErrorCode.CRASHED,
        "sentence": f"Reading the model failed in a way nobody foresaw ({type(error).__name__}: {error}); "
        "save it anew.",
    }


if __name__ == "__main__":
    main()
