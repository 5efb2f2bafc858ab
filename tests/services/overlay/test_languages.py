"""The page in each language: complete tables, no words beside them, and room for them on a phone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from messages.errors import COMMAND_CODES, MODEL_CODES
from services.overlay.languages import LANGUAGES, PAGE, texts
from services.service import SERVICES
from tests.conftest import REPOSITORY
from tests.services.overlay.conftest import Overlay
from tests.services.overlay.standin import StandIn

PHONES = ({"width": 320, "height": 640}, {"width": 390, "height": 844})
DESKTOP = {"width": 1360, "height": 900}
SERVED = ("about.", "error.", "refused.", "said.")
"""What the car says in English itself: other languages have these, too."""
GAP = re.compile(r"\{(\w+)\}")
SCRIPTS = {path.name: path.read_text("utf-8") for path in sorted(PAGE.glob("*.js"))}
OTHERS = [language for language in LANGUAGES if language != "en"]


def own(language: str) -> dict[str, str | dict[str, str]]:
    return {key: words for key, words in texts(language).items() if not key.startswith(SERVED)}


def forms(words: str | dict[str, str]) -> list[str]:
    return [words] if isinstance(words, str) else list(words.values())


@pytest.mark.parametrize("language", OTHERS)
def test_each_language_has_the_same_texts_with_the_same_gaps(language: str) -> None:
    english, other = own("en"), own(language)
    assert other.keys() == english.keys()
    for key, words in english.items():
        gaps = {gap for form in forms(words) for gap in GAP.findall(form)}
        found = {gap for form in forms(other[key]) for gap in GAP.findall(form)}
        assert found <= gaps, key
        assert gaps - found <= {"where"}, key
        assert all(forms(other[key])), key


def test_every_text_is_used_and_every_text_that_is_used_exists() -> None:
    sources = "".join(SCRIPTS.values()) + (PAGE / "index.html").read_text("utf-8")
    named = set(re.findall(r"[\"`]([a-z]+\.[A-Za-z.]+)[\"`]", sources))
    parts = set(re.findall(r"`([a-z]+\.(?:[a-z]+\.)?)\$\{", sources))  # `state.${…}`
    keys = own("en").keys()
    areas = {key.partition(".")[0] for key in keys}
    topics = {"pad.change", "pad.reading", "pad.stroke", "pad.erase", "pad.undo", "pad.recognize", "pad.show"}
    topics |= {"pad.brush", "pad.automatic", "pad.write"}
    assert {name for name in named if name.partition(".")[0] in areas} - keys - topics == set()
    unused = {key for key in keys if key not in named and not key.startswith(tuple(parts))}
    assert unused == set()


@pytest.mark.parametrize("language", OTHERS)
def test_what_the_car_says_has_its_words_in_each_language(language: str) -> None:
    """Every error code and service; and each sentence that is translated is one that the source says."""
    table = texts(language)
    errors = {f"error.{code.value}" for code in (*COMMAND_CODES, *MODEL_CODES)}
    assert {key for key in table if key.startswith("error.")} == errors
    assert {key for key in table if key.startswith("about.")} == {f"about.{name}" for name in SERVICES}
    spoken = set(sentences())
    unspoken = [
        key for key in table if key.startswith("said.") and gapless(key[len("said.") :]) not in spoken
    ]
    assert unspoken == [], "nothing in services/ says so any more"


def gapless(sentence: str) -> str:
    return re.sub(r"(\{\w*\})+", "{}", sentence)


def sentences() -> Iterator[str]:
    """Strings of the services' source, their gaps empty."""
    for path in (REPOSITORY / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                yield gapless("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


class Words(HTMLParser):
    """Texts and names in a document that are there for people."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "link", "input", "img"}:
            self._inside.append(tag)
        self.found += [value for name, value in attributes if name in {"title", "aria-label"} and value]

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not {"noscript", "title", "kbd"} & set(self._inside) and re.search(r"[A-Za-z]{2}", data):
            self.found.append(data.strip())


def test_the_document_has_no_words_of_its_own() -> None:
    words = Words()
    words.feed((PAGE / "index.html").read_text("utf-8"))
    assert words.found == ["smartcar"], "the name alone; all else comes from the tables"


def test_scripts_have_no_sentences_of_their_own() -> None:
    literal = re.compile(r"\"((?:[^\"\\\n]|\\.)*)\"|`((?:[^`\\]|\\.)*)`")
    prose = re.compile(r"^[A-Z][a-z]+ [a-z]|[a-z]{2,} [a-z]{2,} [a-z]{2,}.*[.…]$")
    found = []
    for name, source in SCRIPTS.items():
        code = re.sub(r"(?m)^\s*//.*$|(?<=[;,{}]) // .*$", "", source)
        found += [f"{name}: {m[0]}" for m in literal.finditer(code) if prose.search(m[1] or m[2] or "")]
    assert found == []


VISIBLE_LATIN = """() => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  const foreign = "[lang=en], [translate=no], noscript, script, kbd, option, time, .event-text";
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (/[A-Za-z]{2}/.test(node.data) && !node.parentElement.closest(foreign)) found.push(node.data.trim());
  }
  for (const node of document.querySelectorAll("[aria-label], [title]"))
    for (const words of [node.getAttribute("aria-label"), node.getAttribute("title")])
      if (/[A-Za-z]{2}/.test(words ?? "") && !node.closest(foreign)) found.push(words);
  return found;
}"""
NAMES = re.compile(
    r"capture\.resume|capture|recognizer|bridge|updater|overlay|pad|testcar|kitchen|standin-cnn|digits|"
    r"mqtt\.host|MQTT|CPU|MB|ms|keras|tflite|zip|h5|connected|kB|x86|Intel|AMD|Xeon|Processor"
)


@pytest.fixture
def overlay(shared_overlay: Overlay) -> Overlay:
    return shared_overlay


@pytest.fixture
def car(shared_car: StandIn) -> Iterator[StandIn]:
    yield shared_car
    shared_car.sending = True
    shared_car.states["capture"] = ("ready", "")


def test_the_page_speaks_the_language_of_the_browser_or_the_one_that_is_chosen(
    overlay: Overlay, car: StandIn, browser: Any
) -> None:
    context = browser.new_context(locale="ko-KR", viewport={"width": 1360, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    try:
        refused = page.goto(f"{overlay.origin}/")
        assert "토큰" in refused.text()
        event = car.event("06284", seen_s=3)
        page.goto(overlay.address)
        page.wait_for_selector('#stage[data-freshness="fresh"]')
        page.wait_for_selector(".code")
        page.wait_for_selector(".service .reason:not([hidden])")
        assert page.evaluate("document.documentElement.lang") == "ko"
        car.event("06234", "update", event, seen_s=4)
        page.wait_for_selector("#announcer:text('고쳐 읽은 숫자: 0 6 2 3 4.')", state="attached")
        page.locator("#source-name").select_option("kitchen")
        page.locator("#pause").click()
        page.wait_for_selector("#stage-words >> text=카메라가 꺼져 있어요")
        page.locator("#pause").click()
        page.wait_for_selector('#stage[data-freshness="fresh"]')
        left = [
            words for words in page.evaluate(VISIBLE_LATIN) if re.search("[A-Za-z]{2}", NAMES.sub("", words))
        ]
        assert left == [], "words that are not in the table"
        assert "undefined" not in page.inner_text("body")

        page.locator("#language").select_option("en")
        page.wait_for_selector("#live-title:text-is('Live view')")
        page.reload()
        page.wait_for_selector("#live-title:text-is('Live view')")
        assert page.evaluate("document.documentElement.lang") == "en"
    finally:
        context.close()


@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("ko", "dark"), ("ko", "light")])
def test_nothing_overflows_a_phone_and_axe_finds_nothing_serious(
    overlay: Overlay, car: StandIn, browser: Any, language: str, scheme: str, tmp_path: Path
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    context = browser.new_context(locale=language, viewport=PHONES[0], color_scheme=scheme, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    findings: list[str] = []

    def look(name: str) -> None:
        for viewport in (*PHONES, DESKTOP):
            page.set_viewport_size(viewport)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= viewport["width"], f"{name} at {viewport['width']} pixels"
            page.screenshot(path=tmp_path / f"{name}-{viewport['width']}.png", full_page=True)
        response = axe.run(page).response
        assert len(response["passes"]) > 20, "it has looked"
        for rule in response["violations"]:
            if rule["impact"] in ("serious", "critical"):
                findings.extend(f"{name}: {rule['id']} {node['html'][:150]}" for node in rule["nodes"])

    try:
        car.event("06234", seen_s=3)
        page.goto(overlay.address)
        page.wait_for_selector(".code")
        page.wait_for_selector(".service .reason:not([hidden])")
        look("live")
        car.sending = False
        car.states["capture"] = ("degraded", "a-reason-without-any-room-to-break-" * 6)
        page.wait_for_selector("#stage-words >> text=reason-without")
        page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        look("stale")
        assert findings == []
    finally:
        context.close()
