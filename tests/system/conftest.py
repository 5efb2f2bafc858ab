"""The installed car, once for all tests that boot it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.container import Container, container, why_not
from tests.system.installed import Car, install


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if reason := why_not():
        skip = pytest.mark.skip(reason=reason)
        for item in items:
            if item.get_closest_marker("system"):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def installation() -> Iterator[Path]:
    """What `sudo ./install.sh --broker --page` changes on a fresh Debian without network."""
    with container() as machine:
        machine.boot()
        install(machine, "--broker", "--page")
        yield machine.freeze()


@pytest.fixture(scope="module")
def running(installation: Path) -> Iterator[Car]:
    """A car that was switched on, for tests that leave it well."""
    with container(installation) as machine:
        machine.boot()
        car = Car(machine)
        car.wait_until_up()
        yield car


@pytest.fixture
def fresh(installation: Path) -> Iterator[Car]:
    """A car of the test's own."""
    with container(installation) as machine:
        machine.boot()
        car = Car(machine)
        car.wait_until_up()
        yield car


@pytest.fixture
def debian_machine() -> Iterator[Container]:
    """A fresh Debian, booted."""
    with container() as machine:
        machine.boot()
        yield machine
