"""One task as a folder of files, for JATOS and similar hosts; its results come back by a key.

A static page cannot judge answers without holding the key. Without feedback it holds none: which
query is which stands in ``OUT.key.json`` beside the folder, which is not uploaded.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from imi_bench.arguments import checked
from imi_bench.collect.experiment import Experiment, Screen, Task
from imi_bench.collect.judgement import judge
from imi_bench.collect.pictures import Addresses, Pictures
from imi_bench.collect.server import PAGE_FILES
from imi_bench.collect.store import Store
from imi_bench.documents import reading
from imi_bench.errors import InputError, NotComparableError
from imi_bench.provenance import write_json
from imi_bench.release.exclusions import Rules

ROUNDS = 3  # of practice that a static folder holds
_FORMAT = 1


@checked
def write_static(experiment: Experiment, out: str | Path, *, task: int = 1) -> tuple[str, ...]:
    """Write one task as a folder.

    Parameters
    ----------
    experiment : Experiment
    out : str or Path
        A folder that does not exist yet. The key is written beside it, as ``OUT.key.json``.
    task : int
        Number of the task, from 1.

    Returns
    -------
    tuple of str
        What the experimenter must know, one line each.

    Raises
    ------
    InputError
        The folder exists, or there is no such task.
    """
    folder = Path(out)
    if folder.exists():
        raise InputError("the folder exists", where=folder, do="give another out=")
    if not 1 <= task <= len(experiment.tasks):
        raise InputError("no such task", found=task, wanted=f"1 to {len(experiment.tasks)}")
    chosen = experiment.tasks[task - 1]
    seed = secrets.randbits(62)
    blocks = {"main": experiment.script(chosen, seed=seed)}
    for attempt in range(1, ROUNDS + 1):
        blocks[f"practice-{attempt}"] = experiment.practice_round(
            chosen, seed=seed, attempt=attempt
        )
    addresses = Addresses(secrets.token_bytes(32), "static", public="")
    shown = {
        block: [addresses.screen(s, block=block, number=n) for n, s in enumerate(screens)]
        for block, screens in blocks.items()
    }
    plan = experiment.plan
    page = {
        "state": _first_state(experiment, chosen, blocks["main"]),
        "blocks": shown,
        # practice is always judged on the page; main trials only where people are told
        "answers": {
            block: [s.answer for s in screens]
            for block, screens in blocks.items()
            if block != "main" or plan.feedback
        },
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as name:
        made = Path(name) / "page"
        _write_pages(made, page)
        pictures = Pictures(experiment.images)
        (made / "image").mkdir()
        for address, (row, beside) in addresses.items():
            (made / "image" / f"{address}.png").write_bytes(pictures.served(row, beside=beside))
        made.rename(folder)
    key = folder.with_name(f"{folder.name}.key.json")
    scripts = {block: [s.to_json() for s in screens] for block, screens in blocks.items()}
    write_json(
        key,
        {
            "format": _FORMAT,
            "experiment": experiment.describe(),
            "task": task,
            "seed": seed,
            "blocks": scripts,
        },
    )
    said = [f"{key} reads the results (`collect import`); keep it, and do not upload it"]
    if plan.feedback:
        said.append(
            "a static page that tells people if they were right holds the key: whoever reads its "
            "files can tell; use `collect serve`, or feedback=False"
        )
    return tuple(said)


def _first_state(experiment: Experiment, task: Task, main: Sequence[Screen]) -> dict[str, Any]:
    """What the page is told when it opens, as a session of the server is."""
    plan = experiment.plan
    return {
        "session": "static",
        "state": "consent",
        "kind": plan.kind,
        "feedback": plan.feedback,
        "title": plan.title,
        "contact": plan.contact,
        "simulated_images": experiment.trials.simulated,
        "mode": task.mode,
        "references": len(main[0].right),
        "total": len(main),
        "code": plan.completion_code,
    }


def _write_pages(folder: Path, page: dict[str, Any]) -> None:
    source = resources.files("imi_bench.collect") / "page"
    for name in (*PAGE_FILES, "static.js"):
        place = folder / ("index.html" if name == "index.html" else f"page/{name}")
        place.parent.mkdir(parents=True, exist_ok=True)
        with source.joinpath(name).open("rb") as stream, place.open("wb") as target:
            shutil.copyfileobj(stream, target)
    index = folder / "index.html"
    html = index.read_text(encoding="utf-8")
    scripts = '<script src="page/task.js"></script>\n<script src="page/static.js"></script>\n'
    mark = '<script src="page/study.js"'
    index.write_text(html.replace(mark, scripts + mark), encoding="utf-8")
    text = f"window.IMI_TASK = {json.dumps(page)};\n"
    (folder / "page" / "task.js").write_text(text, encoding="utf-8")


@checked
def read_static(
    results: Sequence[str | Path], *, key: str | Path, db: str | Path
) -> tuple[Store, int]:
    """Put results of static pages into a database, each result once.

    Parameters
    ----------
    results : sequence of str or Path
        JSON files that the page gave (or the host kept).
    key : str or Path
        The key that `write_static` left beside the folder.
    db : str or Path
        Begun where it does not exist.

    Returns
    -------
    store : Store
    added : int
        Results that were not in it before.

    Raises
    ------
    InputError
        A file that is no result, or the key of another folder.
    """
    found = _json(Path(key), "a key of `collect static`")
    if found.get("format") != _FORMAT:
        raise NotComparableError(
            "a key of another version", where=key, found=found.get("format"), wanted=_FORMAT
        )
    with reading("key of `collect static`", where=key):
        blocks = {
            block: [Screen.from_json(s) for s in screens]
            for block, screens in found["blocks"].items()
        }
        rules = Rules.from_json(found["experiment"]["plan"]["rules"])
        store = Store(db, begin=found["experiment"])
    added = 0
    for path in map(Path, results):
        result = _json(path, "a result of a static page")
        with reading("result of this task", where=path):
            added += _add(store, result, path, found, blocks, rules)
    return store, added


def _add(
    store: Store,
    result: dict[str, Any],
    path: Path,
    key: dict[str, Any],
    blocks: dict[str, list[Screen]],
    rules: Rules,
) -> bool:
    try:
        begun, seconds = float(result["begun"]), float(result["instruction_seconds"])
        given: list[dict[str, Any]] = [
            {
                "block": str(a["block"]),
                "number": int(a["number"]),
                "screen": blocks[a["block"]][int(a["number"])],
                "button": int(a["button"]),
                "rt": float(a["rt"]),
                "received": float(a["received"]),
            }
            for a in result["answers"]
        ]
        identity = str(result["own"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError("not a result of this task", where=path, found=repr(error)) from error
    session = store.add_session(
        identity=f"static:{identity}",
        task=key["task"],
        seed=key["seed"],
        script=blocks["main"],
        begun=begun,
        instruction_seconds=seconds,
        comment=str(result.get("comment", "")),
        simulated=result.get("simulated") is True,
        answers=given,
    )
    if session is None:
        return False
    verdict = judge(store.session(session), store.answers(session), rules=rules)
    finished = max((a["received"] for a in given), default=begun)
    done = sum(a["block"] == "main" for a in given) == len(blocks["main"])
    if done:
        store.move(session, "done", finished=finished, verdict=json.dumps(verdict))
    return True


def _json(path: Path, wanted: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("cannot be read", where=path, found=error, wanted=wanted) from error
    if not isinstance(value, dict):
        raise InputError("not a JSON object", where=path, wanted=wanted)
    return value
