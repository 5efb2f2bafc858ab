"""The house as a newcomer finds it: small modules, imports in one direction, one name for one thing."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import REPOSITORY

FLOORS = ("messages", "models", "services", "tools")
"""Each stands on those before it."""
MOST_LINES = 350
SPEAKING = {
    "CannotStart", "CommandRefused", "ConfigError", "ConnectionLost", "ConnectionProblem", "DataError",
    "Fault", "GateError", "NoCamera", "Problem", "Refusal", "SourceError", "UserError",
}  # fmt: skip
"""Errors whose text people read."""
SPELLED = ("golden.npz", "manifest.", "smartcar ", "systemctl ")
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
    """Whoever reads a name finds one thing. Names with an underscore stay in their module."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, path in MODULES.items():
        if name.startswith(("tools.train.eye.", "tools.bench.carriers.")):
            continue  # the eye as it is trained; a carrier a module, each with its Writer and Reader
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(name)
    assert {name: modules for name, modules in found.items() if len(modules) > 1} == {}


def sentences_for_people() -> Iterator[tuple[str, ast.expr]]:
    """Each text that an error for people is made with in the source, and where."""
    for path in PRODUCT:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in SPEAKING:
                for text in node.args:
                    if isinstance(text, ast.JoinedStr | ast.Constant) and " " in ast.unparse(text):
                        yield f"{path.relative_to(REPOSITORY)}:{text.lineno}", text


def test_errors_for_people_are_sentences() -> None:
    """They begin with a capital, or what stands there begins as it is spelled, and end with a full stop."""
    wrong = []
    found = list(sentences_for_people())
    for where, text in found:
        parts = text.values if isinstance(text, ast.JoinedStr) else [text]
        first, last = parts[0], parts[-1]
        begins = str(first.value) if isinstance(first, ast.Constant) else "{"
        ends = str(last.value) if isinstance(last, ast.Constant) else "."  # another error's own full stop
        if (begins[0].islower() and not begins.startswith(SPELLED)) or ends.rstrip()[-1] not in ".?!:":
            wrong.append(f"{where}: {ast.unparse(text)}")
    assert len(found) > 300
    assert wrong == []


def test_no_folder_is_a_drawer_for_odds_and_ends() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert [name for name in MODULES if drawers & set(name.split("."))] == []


def test_files_that_the_docs_name_exist() -> None:
    pages = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").glob("*.md")]
    path = re.compile(rf"`((?:{'|'.join((*FLOORS, 'tests', 'systemd', 'docs'))})/[\w./-]*)`")
    named = {(page.name, name) for page in pages for name in path.findall(page.read_text(encoding="utf-8"))}
    assert len(named) > 60
    assert {(page, name) for page, name in named if not (REPOSITORY / name).exists()} == set()
