"""`smartcar pad show`: what the model sees, in the terminal."""

from __future__ import annotations

from messages.pad_commands import BoxView, PadShow, PadViews
from services.config import Settings
from tools.pad.client import pad_client
from tools.pad.percent import percent
from tools.terminal.output import print_json, say

_SHADES = " ░▒▓█"
_BAR = 12


def show(settings: Settings, *, json: bool) -> int:
    """Print the crops and the probabilities: for people in blocks and bars, else one object."""
    with pad_client(settings) as client:
        client.wait_until_ready()
        views = client.ask(PadShow(), PadViews)
    if json:
        print_json(
            {
                "revision": views.revision,
                "boxes": [
                    {
                        "digit": view.digit.label,
                        "confidence": round(view.digit.confidence, 4),
                        "probabilities": [round(each, 6) for each in view.probabilities],
                        "crop": rows(view),
                    }
                    for view in views.boxes
                ],
            }
        )
        return 0
    blocks = [block(number, view) for number, view in enumerate(views.boxes, 1)]
    for lines in zip(*blocks, strict=True):
        say("  ".join(lines).rstrip())
    if views.model is not None:
        say()
        say(f"{views.model.name} {views.model.version}")
    return 0


def rows(view: BoxView) -> list[list[int]]:
    """The crop's pixels, 0 to 255, row by row."""
    width = view.crop.width
    return [list(view.crop.pixels[start : start + width]) for start in range(0, len(view.crop.pixels), width)]


def block(number: int, view: BoxView) -> list[str]:
    """One box as lines of equal width: its reading, its crop (two rows a line), its ten bars."""
    pixels, width = rows(view), view.crop.width
    digit = view.digit
    head = f"{number}: {digit.label}" + (f" {percent(digit.confidence)}" if view.probabilities else "")
    lines = [head.ljust(width)]
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        lines.append("".join(_shade(max(pair)) for pair in zip(upper, lower, strict=True)))
    for value in range(10):
        share = view.probabilities[value] if value < len(view.probabilities) else 0.0
        bar = "█" * round(share * _BAR)
        words = percent(share).rjust(6) if view.probabilities else ""
        lines.append(f"{value} {bar.ljust(_BAR, '·')} {words}".ljust(width))
    return lines


def _shade(value: int) -> str:
    return _SHADES[min(len(_SHADES) - 1, value * len(_SHADES) // 256)]
