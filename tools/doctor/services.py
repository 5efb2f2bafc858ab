"""What the services say of themselves, and what their journals hold."""

from __future__ import annotations

import os
from collections.abc import Iterator

from messages.journal_reader import JournalReader
from services.catalogue import TOPICS
from services.journals import journal_path
from tools.doctor.context import CheckContext
from tools.doctor.finding import Finding, as_error, error, ok, warning

MANY_RESTARTS = 3
MUCH_BACKLOG = 1000


def services(car: CheckContext) -> Iterator[Finding]:
    """The state of each service, in its own words."""
    if not car.running:
        yield from (
            as_error(f"{status.service}: {status.reason}")
            for status in car.snapshot.services
            if status.state == "failed"
        )
        start = "sudo systemctl start smartcar.target" if car.installed else "smartcar up"
        yield warning("the car doesn't run", f"start it: {start}")
        return
    well = []
    for status in car.snapshot.services:
        own = as_error(f"{status.service} is {status.state}: {status.reason or 'it does not run'}")
        if status.state in ("failed", "stopped"):
            yield own
        elif status.state == "degraded":
            yield warning(own.sentence, own.remedy)
        elif status.state == "starting":
            yield warning(f"{status.service} is still starting", "look again in a moment")
        else:
            well.append(status.service)
        if status.restarts >= MANY_RESTARTS:
            yield warning(
                f"{status.service} came back {status.restarts} times since it was started",
                f"its log says why: journalctl -u smartcar-{status.service}, or what smartcar up prints",
            )
    if well:
        yield ok(f"well: {', '.join(well)}")


def journals(car: CheckContext) -> Iterator[Finding]:
    """Events kept, waiting for the broker, lost."""
    kept = 0
    problems: list[Finding] = []
    for service in {row.owner for row in TOPICS.values() if row.journalled}:
        path = journal_path(car.settings, service)
        problems += _losses(car, service)
        try:
            if not path.exists():
                continue
        except OSError:
            problems.append(warning(f"{path} can't be looked at by this user", "try: sudo smartcar doctor"))
            continue
        reader = JournalReader(path)
        first, last = reader.bounds()
        reader.close()
        kept += last - first + 1 if last else 0
        if not reader.id and os.access(path, os.R_OK):
            keep = f"restart {service}: it keeps {path} aside and begins a new one"
            problems.append(error(f"the journal {path} is damaged", keep))
    backlog = car.snapshot.backlog
    if backlog >= MUCH_BACKLOG:
        problems.append(
            warning(f"{backlog} events wait for the broker", "see the check broker; they are kept meanwhile")
        )
    yield from problems
    if not problems:
        yield ok(f"{kept} events kept, {backlog} wait for the broker, none lost")


def _losses(car: CheckContext, service: str) -> Iterator[Finding]:
    status = car.snapshot[service]
    if waiting := status.counters.get("journal_backlog", 0):
        yield warning(
            f"{waiting} events of {service} wait in memory, since its journal takes none",
            "a power cut would take them; see the check disk",
        )
    if lost := status.counters.get("journal_lost", 0):
        yield error(
            f"{service} could not write {lost} events",
            "make room on the disk; see the check disk",
        )
    if discarded := status.counters.get("journal_discarded_unsent", 0):
        yield warning(
            f"{service} has discarded {discarded} events that no broker took",
            "see the check broker; journals.max_megabytes and max_days say how much is kept",
        )
    if damaged := status.details.get("journal", ""):
        yield warning(
            f"the journal of {service} {damaged}", "keep that file if its events matter, else remove it"
        )
    if damaged := status.details.get("ledger", ""):
        yield warning(
            f"the ledger of {service} {damaged}",
            "what was pinned or refused is forgotten: smartcar model list, model pin",
        )
