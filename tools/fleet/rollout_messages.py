"""What a rollout says: lines for people, or an object a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from messages.text import printable
from models.bundle.manifest import Manifest
from tools.fleet.health import RolloutState
from tools.fleet.listing import in_order
from tools.terminal.output import print_json, say

_WORDS = {
    RolloutState.OFF: "is off; it takes it when it is back",
    RolloutState.LEFT_OUT: "is left out",
    RolloutState.WAITING: "may take it",
    RolloutState.TAKING: "takes it",
    RolloutState.SETTLING: "reads with it; is it well?",
    RolloutState.HEALTHY: "is well with it",
    RolloutState.FAILED: "failed",
}


class RolloutMessages:
    """Says each thing once."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._told: dict[str, RolloutState] = {}

    def begins(self, manifest: Manifest, *, resumed: bool, cars: tuple[str, ...] | None) -> None:
        title = f"{manifest.name} {manifest.version}, release {manifest.release}"
        if not resumed:
            self._say({"event": "begin", "model": title}, f"{title} is rolled out")
            return
        named = "all cars" if cars is None else f"{len(cars)} cars"
        content = {"event": "resume", "model": title, "cars": cars}
        self._say(content, f"{title} stands there, for {named}: going on with it")

    def wave(self, new: tuple[str, ...], *, everyone: bool) -> None:
        content = {"event": "wave", "cars": new, "everyone": everyone}
        if everyone:
            self._say(content, "now all may take it, also those that are off when they come back")
        else:
            self._say(content, f"next: {', '.join(new)}")

    def car(self, name: str, verdict: RolloutState, reason: str) -> None:
        if self._told.get(name) == verdict:
            return
        self._told[name] = verdict
        reason = printable(reason)
        words = "reads with it, but" if verdict is RolloutState.SETTLING and reason else _WORDS[verdict]
        told = f"{name} {words}" + (f": {reason}" if reason else "")
        self._say({"event": "car", "car": name, "verdict": verdict, "reason": reason}, told)

    def back(self, name: str) -> None:
        self._say({"event": "back", "car": name}, f"{name} is back at the model before")

    def trouble(self, sentence: str) -> None:
        self._say({"event": "trouble", "sentence": printable(sentence)}, printable(sentence))

    def stops(self, why: str, reasons: Mapping[str, str]) -> None:
        self._say({"event": "stop", "reason": printable(why)}, f"stopped: {printable(why)}")

    def ends(self, outcome: str, verdicts: Mapping[str, RolloutState], reasons: Mapping[str, str]) -> None:
        by_verdict = {
            verdict.value: _sorted(car for car, each in verdicts.items() if each is verdict)
            for verdict in RolloutState
        }
        counts = ", ".join(
            f"{len(cars)} {name.replace('_', ' ')}" for name, cars in by_verdict.items() if cars
        )
        self._say(
            {"event": "end", "outcome": outcome, **by_verdict, "reasons": _fit(reasons)},
            f"{outcome}: {counts or 'no car follows it'}",
        )

    def rolled_back(self, back: Iterable[str], left: Mapping[str, str], *, restored: object) -> None:
        content = {
            "event": "end",
            "outcome": "rolled_back",
            "back": _sorted(back),
            "left": _fit(left),
            "restored": restored is not None,
        }
        offer = "the offer before stands again" if restored else "the offer is withdrawn"
        self._say(content, f"rolled back: {len(content['back'])} cars; {offer}")  # type: ignore[arg-type]
        if not self._json:
            for name, why in left.items():
                say(f"{name} is left as it is: {printable(why)}")

    def interrupted(self, subject: str) -> None:
        if not self._json:
            say()  # after ^C
            say("interrupted: the offer stands for the cars named so far; go on with the same command")

    def _say(self, content: Mapping[str, object], line: str) -> None:
        if self._json:
            print_json(dict(content))
        else:
            say(line)


def _sorted(cars: Iterable[str]) -> list[str]:
    return sorted(cars, key=in_order)


def _fit(reasons: Mapping[str, str]) -> dict[str, str]:
    return {name: printable(reason) for name, reason in reasons.items()}
