"""`smartcar evaluate`: models, and recognisers of others, side by side on handwriting they never saw."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.inference.runtime import ModelError
from tools.evaluate import candidates, peers, photos
from tools.evaluate import mistakes as mistaken
from tools.evaluate.candidates import FACTORY_BUNDLE, ComparedModel, Preparation
from tools.evaluate.rejection import DUE, refusal
from tools.evaluate.scores import SetScore
from tools.evaluate.test_sets import DRAWN, SETS, evaluate
from tools.terminal.output import print_json, print_table, say, silence_libraries
from tools.terminal.problems import Problem
from tools.train import runs
from tools.train.data.datasets import DataError
from tools.train.data.sources import DOWNLOAD, prepare

PEER_DIGITS = 300
COURSE = "ex10_12"


@dataclass
class Column:
    """All that is known of one model."""

    name: str
    digest: str = ""
    scores: dict[str, SetScore] = field(default_factory=dict)
    """By what the set is called."""
    figures: dict[str, float] = field(default_factory=dict)
    """By what they are called: milliseconds, bytes, shares."""


FIVE, SIZE = "five digits", "model file"
REFUSED = f"refused, so that {DUE:.1%} of the rest is right"
KEPT = "right of the rest, then"


def judge(
    models: list[Path],
    data: Path | str,
    sets: tuple[str, ...],
    *,
    preparation: Preparation | None = None,
    with_peers: bool = False,
    peer_digits: int = PEER_DIGITS,
    mistakes: Path | None = None,
    json: bool = False,
) -> int:
    """Score the models, and the peers where wanted, and print the table. Raises Problem.

    What the first model reads wrong is drawn into `mistakes`.

    `data` is a folder, or a source that `tools.train.data.sources` knows.
    """
    judged = [candidates.load(path, preparation) for path in models]
    folder = prepare(str(data), lambda line: say(line, file=sys.stderr))
    remarks: list[str] = []
    course = _course_model() if with_peers else []
    judged += course
    if with_peers and not course:
        remarks.append(f"the course's model isn't here: train it with smartcar train --preset {COURSE}")
    absent: dict[str, str] = {}
    columns = [_column(candidate, folder, sets or tuple(SETS), absent) for candidate in judged]
    if absent and (sets or {*SETS} - DRAWN <= {*absent}):
        raise Problem(next(iter(absent.values())))
    chosen = tuple(name for name in sets or tuple(SETS) if name not in absent)
    if absent:
        remarks.append(f"not in {folder}: {', '.join(absent)}")
    if mistakes is not None:
        mistaken.sheet(judged[0], folder, chosen, mistakes)
    if with_peers:
        for peer in peers.find():
            if isinstance(peer, peers.Absent):
                remarks.append(f"{peer.name} isn't installed: {peer.remedy}")
                continue
            found = peers.scores(peer, folder, chosen, peer_digits)
            column = Column(peer.name, scores={score.set: score for score in found})
            column.figures[FIVE] = peers.five_ms(peer)
            columns.append(column)
    if json:
        for column in columns:
            _print_lines(column)
    else:
        _print_table(columns)
        for remark in remarks:
            say(remark)
    return 0


def _column(candidate: ComparedModel, data: Path, sets: tuple[str, ...], absent: dict[str, str]) -> Column:
    """Score one model. Sets that are not in the folder go to `absent`, with the reason."""
    column = Column(candidate.name, candidate.digest)
    for each in sets:
        try:
            column.scores |= {score.set: score for score in evaluate(candidate, data, (each,))}
        except DataError as error:
            absent[each] = str(error)
        except (ValueError, ModelError) as error:
            raise Problem(str(error)) from None
    if "pen" in sets and "pen" not in absent:
        told = refusal(candidate, data)
        column.scores |= {REFUSED: told.refused, KEPT: told.kept}
    column.figures[FIVE] = candidate.five_ms()
    if candidate.size:
        column.figures[SIZE] = candidate.size
    return column


def _course_model() -> list[ComparedModel]:
    """The newest run of the course's preset below runs/: fed as the course does, and as the car does."""
    for path in sorted(runs.RUNS.glob(f"{COURSE}*"), key=lambda path: -path.stat().st_mtime):
        if runs.is_done(path) and not runs.read(path, runs.CONFIG).get("varied"):
            return [candidates.load(path, way) for way in candidates.PREPARATIONS]
    return []


def _print_lines(column: Column) -> None:
    about: dict[str, Any] = {"model": column.digest, "name": column.name}
    for score in column.scores.values():
        print_json({**about, **asdict(score)})
    for name, value in column.figures.items():
        print_json({**about, "figure": name, "value": round(value, 5)})


def _print_table(columns: list[Column]) -> None:
    titles = list(dict.fromkeys(title for column in columns for title in column.scores))
    rows = [(title, *(_cell(column.scores.get(title)) for column in columns)) for title in titles]
    for title in titles:
        found = [column.scores.get(title) for column in columns]
        if any(score and score.calibration_error is not None for score in found):
            rows.append((f"confidence off by: {title}", *(_error(score) for score in found)))
    for name, form, scale in ((FIVE, "{:.3g} ms", 1.0), (SIZE, "{:,.0f} KB", 1e-3)):
        told = [column.figures.get(name) for column in columns]
        rows.append((name, *("" if value is None else form.format(value * scale) for value in told)))
    print_table(("right, and 95 % interval", *(column.name for column in columns)), rows)


def _cell(score: SetScore | None) -> str:
    if score is None:
        return ""
    return f"{score.share:.2%} of {score.count} ({100 * score.low:.2f} to {100 * score.high:.2f})"


def _error(score: SetScore | None) -> str:
    return "" if score is None or score.calibration_error is None else f"{score.calibration_error:.2%}"


def compare(
    model: Path | None,
    sets: list[str],
    *,
    data: str | None,
    against: list[Path],
    preparation: str | None,
    with_peers: bool,
    peer_digits: int,
    mistakes: Path | None,
    bundle: Path | None,
    json: bool,
) -> int:
    """What the command line asks: sets, `photos FOLDER`, or the older form, DATA --bundle BUNDLE."""
    silence_libraries()
    if model is not None and str(model) in SETS and not model.exists():
        model, sets = None, [str(model), *sets]
    if sets[:1] == ["photos"] and len(sets) == 2 and sets[1] not in SETS:
        judged = [
            candidates.load(path, "normalised") for path in (model or bundle or FACTORY_BUNDLE, *against)
        ]
        folder = Path(sets[1])
        return photos.compare(judged, folder, with_peers=with_peers, mistakes=mistakes, json=json)
    if unknown := sorted(set(sets) - set(SETS)):
        raise Problem(f"No such set: {', '.join(unknown)}; there are {', '.join(SETS)}.")
    if preparation is not None and preparation not in candidates.PREPARATIONS:
        raise Problem(f"--prepare is {' or '.join(candidates.PREPARATIONS)}, not {preparation}.")
    if data is None and model is not None and model.is_dir() and not candidates.is_model(model):
        say("smartcar evaluate takes the model first now: MODEL --data DATA", file=sys.stderr)
        model, data = bundle, str(model)
    return judge(
        [model or bundle or FACTORY_BUNDLE, *against],
        data or DOWNLOAD,
        tuple(sets),
        preparation=preparation,
        with_peers=with_peers,
        peer_digits=peer_digits,
        mistakes=mistakes,
        json=json,
    )
