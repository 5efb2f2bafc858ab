"""The house as a newcomer finds it: small modules, imports in one direction, one name for one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import REPOSITORY

FLOORS = ("messages", "models", "services", "tools")
"""Each stands on those before it."""
MOST_LINES = 350
PRODUCT = sorted(path for floor in FLOORS for path in (REPOSITORY / floor).rglob("*.py"))


def module_of(path: Path) -> str:
    """`messages/bus.py` is `messages.bus`, `messages/rpc/__init__.py` is `messages.rpc`."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in PRODUCT}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """The modules of the product that import statements among `nodes` name."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = {f"{node.module}.{each.name}" for each in node.names}
            found |= names & MODULES.keys() or {node.module}
    return found & MODULES.keys()


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """What runs when a module is imported: functions' bodies don't, nor what only a type checker reads."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        waiting += ast.iter_child_nodes(node)


def test_no_module_is_too_long() -> None:
    lengths = {str(path.relative_to(REPOSITORY)): len(path.read_text().splitlines()) for path in PRODUCT}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_imports_go_one_way() -> None:
    """Also those inside functions: `messages` knows nothing of `models`, these nothing of `services`, …"""
    upward = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        for other in imported(ast.walk(tree_of(path)))
        if FLOORS.index(other.split(".")[0]) > FLOORS.index(name.split(".")[0])
    ]
    assert upward == []


def test_no_imports_go_round_in_a_circle() -> None:
    needs = {name: imported(at_import(tree_of(path))) - {name} for name, path in MODULES.items()}
    while free := {name for name, others in needs.items() if not others & needs.keys()}:
        needs = {name: others for name, others in needs.items() if name not in free}
    assert sorted(needs) == [], "these import each other, or what does"


def test_one_name_is_one_class() -> None:
    """Whoever reads a name finds one thing. Names with an underscore stay in their module.

    The trainer is a program of its own, with the words of its trade: layers, scenes, settings of a run.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for name, path in MODULES.items():
        if name.startswith("tools.train."):
            continue
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(name)
    assert {name: modules for name, modules in found.items() if len(modules) > 1} == {}


def test_no_folder_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [name for name in MODULES if drawers & set(name.split("."))] == []
