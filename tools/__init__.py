"""The smartcar command, its clients and windows, the trainer, benchmarks.

Of all modules any Python 3 can parse this one, so that it can refuse.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "smartcar needs Python 3.11 or later, and this is {}.{}: upgrade to Debian 12 or Raspberry Pi OS "
        "(64-bit, Bookworm) or later, and keep the data folder".format(*sys.version_info)
    )
if sys.maxsize < 2**32:
    sys.exit(
        "smartcar needs a 64-bit system, and this Python is 32-bit: install Raspberry Pi OS (64-bit), "
        "and keep the data folder"
    )
