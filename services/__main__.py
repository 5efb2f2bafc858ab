"""`python -m services NAME [--config FILE]`: one service in the foreground; `smartcar run` does the same."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from messages.errors import CannotStart
from messages.lock import AlreadyOwned
from messages.text import printable
from services.catalogue import SERVICES
from services.config_file import ConfigError, load
from services.log import LONGEST_LINE, set_up
from services.supervision import FailureNote

EXIT_CANNOT_START = 78
"""EX_CONFIG of sysexits.h: starting again without a change will not help."""


def run(name: str, config: Path | None) -> int:
    """Run the service until it is told to stop. Returns the exit code."""
    log = logging.getLogger("services")
    complaints: list[str] = []
    try:
        settings = load(config, complaints.append)
    except ConfigError as error:
        print(f"{name}: {printable(str(error), LONGEST_LINE)}", file=sys.stderr)
        return EXIT_CANNOT_START
    set_up(name, settings.log.level)
    for complaint in complaints:
        log.warning("%s", complaint)
    try:
        service = SERVICES[name](settings)
        if complaints:
            service.details["settings"] = "; ".join(complaints)
        service.run()
    except AlreadyOwned as error:
        log.error("%s", error)  # the one that runs is well: leave no failure note beside it
        return EXIT_CANNOT_START
    except CannotStart as error:
        log.error("%s", error)
        FailureNote.write(settings.paths.runtime, name, str(error))
        return EXIT_CANNOT_START
    except Exception as error:
        log.exception("crashed")
        FailureNote.write(settings.paths.runtime, name, f"crashed: {type(error).__name__}: {error}")
        return 1
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m services", description=__doc__)
    parser.add_argument("name", choices=SERVICES)
    parser.add_argument("--config", type=Path)
    arguments = parser.parse_args()
    sys.exit(run(arguments.name, arguments.config))


if __name__ == "__main__":
    main()
