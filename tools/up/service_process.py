"""`python -m tools.up.service_process NAME PARENT` runs a service that ends with process PARENT."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> int:
    name, parent = sys.argv[1], int(sys.argv[2])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a service is ready for it, always
    if os.getppid() != parent:
        return 0  # it ended before we could ask to be told

    from services.__main__ import run

    return run(name, None)


if __name__ == "__main__":
    sys.exit(main())
