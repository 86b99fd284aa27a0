"""README and pages: their commands run, their links lead somewhere, versions agree."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from imi_bench import __version__
from imi_bench.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    p for pattern in ("*.md", "docs/**/*.md", "imi_bench/**/*.md") for p in ROOT.glob(pattern)
)
FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```[ ]*$", re.M | re.S)
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")


def commands(text: str) -> list[list[str]]:
    """Every `imi-bench …` of a shell block, as words."""
    joined = text.replace("\\\n", " ")
    whole = re.sub(r'"[^"]*"', lambda m: m[0].replace("\n", " "), joined)
    found: list[list[str]] = []
    for line in whole.splitlines():
        if "imi-bench " not in line:
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&>")
        lexer.whitespace_split = True
        words = ["&", *lexer]
        for place, word in enumerate(words):
            if word == "imi-bench" and set(words[place - 1]) <= set("|;&"):
                rest = words[place + 1 :]
                found.append(list(takewhile(lambda w: not set(w) <= set("|;&>"), rest)))
    return found


def written() -> list[tuple[str, list[str]]]:
    """Where each command stands in the README and the pages, and its words."""
    return [
        (page.relative_to(ROOT).as_posix(), words)
        for page in PAGES
        for language, _, text in FENCE.findall(page.read_text())
        if language in ("sh", "")
        for words in commands(text)
    ]


def test_every_option_that_is_written_down_exists() -> None:
    root, wrong = typer.main.get_command(app), []
    for page, words in written():
        command, rest = root, list(words)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        if getattr(command, "commands", None) and rest and not rest[0].startswith("-"):
            wrong.append(f"{page}: no verb: {' '.join(words)}")
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        asked = [word.partition("=")[0] for word in rest if word.startswith("--")]
        wrong += [f"{page}: {o} of {' '.join(words)}" for o in asked if o not in known]
    assert len(written()) > 50
    assert wrong == []


def test_links_lead_somewhere() -> None:
    broken, verbs = [], set(typer.main.get_command(app).commands)
    for page in PAGES:
        for target in LINK.findall(FENCE.sub("", page.read_text())):
            if re.match(r"(https?|mailto):", target):
                continue
            path, _, anchor = target.partition("#")
            place = (page.parent / path).resolve() if path else page
            generated = place.parent in (ROOT / "docs/reference/api", ROOT / "docs/reference/cli")
            if generated and place.stem in {
                *(p.name for p in (ROOT / "imi_bench").iterdir()),
                *verbs,
            }:
                continue
            if not place.exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
            elif anchor and place.suffix == ".md" and anchor not in anchors(place):
                broken.append(f"{page.relative_to(ROOT)}: {target}: no such heading")
    assert broken == []


def test_every_page_stands_once_in_the_site() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = re.findall(r"[\w/-]+\.md$", nav, re.M)
    assert sorted(listed) == sorted(
        p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")
    )


def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text())
    titles = (re.sub(r"[`*]", "", t).strip().lower() for t in re.findall(r"^#+ (.+)$", text, re.M))
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", t)) for t in titles}


@pytest.fixture
def shell(tmp_path: Path):
    """Run lines in one folder, with this environment's programs first on the PATH."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "IMI_BENCH_CACHE": str(tmp_path / "cache")}

    def run(text: str) -> None:
        done = subprocess.run(
            ["bash", "-e", "-c", text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{text}\n{done.stderr[-2000:]}"

    return run


def readme(containing: str) -> str:
    """The README's block that holds a piece of text."""
    blocks = [text for _, _, text in FENCE.findall((ROOT / "README.md").read_text())]
    return next(text for text in blocks if containing in text)


@pytest.mark.slow
def test_the_readme_s_observer_goes_from_demo_to_submission(shell, tmp_path: Path) -> None:
    (tmp_path / "my_model.py").write_text(readme("class MeanColour"))
    answers = (
        " --title T --author A --licence MIT --weights none --trained-on none"
        " --no-judgements --no-imi --preprocessing none --parameters 0"
    )
    block = readme("imi-bench doctor --observer")
    shell(block.replace("--board observers-mini ", f"--board observers-mini{answers} ", 1))
    shell(readme("imi-bench gate"))


@pytest.mark.slow
def test_the_readme_s_statistics(shell) -> None:
    shell(readme("imi-bench power"))


@pytest.mark.slow
@pytest.mark.vision
def test_the_readme_s_network(shell, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(600):
        pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    block = readme("imi-bench networks units")
    block = block.replace("timm:resnet10t", "timm:test_resnet").replace("clip-vit-b32", "pixel-l2")
    block = block.replace("--images photos/", "--images photos/ --random")
    shell(block.replace("build", "build --units 2 --batches 1"))


def test_the_readme_s_test_command_is_what_ci_runs() -> None:
    command = readme("tox run -e test").strip()
    assert command in (ROOT / ".ci" / "run").read_text()


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert cited is not None
    assert project["version"] == __version__ == cited[1]
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
