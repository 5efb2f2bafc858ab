"""The table of checks. `smartcar doctor`, its help, the documentation's list and the tests derive from it."""

from __future__ import annotations

from tools.doctor.finding import Check

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("configuration", "the settings: every mistake with its line", "software.configuration"),
        Check("versions", "Python, 64 bits, the packages against what is required", "software.versions"),
        Check("clock", "whether it was ever set, and is kept", "machine.clock"),
        Check("disk", "room where the car writes; the runtime folder in memory", "machine.disk"),
        Check("memory", "what is available; whether the kernel had to end a process", "machine.memory"),
        Check("board", "temperature, power supply, throttling", "machine.power"),
        Check("permissions", "the group, the folders, who can read secrets", "permissions.permissions"),
        Check("units", "the systemd services: enabled, active, failed, restarted", "units.units", 15.0),
        Check("services", "what each service says of itself", "services.services"),
        Check("camera", "found, permitted, delivering", "camera.camera", 20.0),
        Check("model", "the active model on its golden digits; the data folder", "model.model", 40.0),
        Check(
            "broker",
            "reachable, login, rights, fleet: tried with the car's own account",
            "broker.broker",
            40.0,
        ),
        Check(
            "certificates",
            "of broker and page, and how long they are valid",
            "certificates.certificates",
            10.0,
        ),
        Check("journals", "events kept, waiting, lost", "services.journals"),
        Check("page", "its port; open with the token and not without", "page.page", 10.0),
    )
}
