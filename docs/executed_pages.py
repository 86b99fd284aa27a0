"""Run the pages whose outputs are frozen, and compare or write what they print.

    python docs/executed_pages.py [--write] [PAGE ...]

A page is run from top to bottom in a folder of its own. Blocks of `sh` or `python` are executed;
the block of `text` that follows is what was printed. A block with a title is a file to write. A
block with `no-run` is only read, the output of one with `varies` is not compared. Python blocks
share their names, and show the value of a last expression, as a notebook does. Outputs agree where
the words are the same and every number is within one unit of its last digit, or 1e-9; seconds are
not compared. A block with `people` needs the released answers of Borowski and others (2021): they
are taken from the folder `people` of shared data (`IMI_BENCH_SHARED`, or `shared` beside the
checkout); where there is none, as on a host without a network, the block is left as it was frozen,
which is said. Images that a page shows from `figures/` and that its code has made are copied there
by `--write`. The demo is made once for all pages that throw its printout away.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from imi_bench.release.pinned import fetch_pinned

DOCS = Path(__file__).resolve().parent
PAGES = sorted((DOCS / "tutorials").glob("*.md"))
_FENCE = re.compile(r"^```(\S*)([^\n]*)\n(.*?)^```[ ]*$", re.M | re.S)
_TITLE = re.compile(r'title="([^"]+)"')
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")
_DEMO = "imi-bench demo --out demo"
_SECONDS = re.compile(r"\b\d+(?:\.\d+)? s\b")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page and where it stands in the text."""

    language: str
    rest: str
    text: str
    start: int
    end: int

    @property
    def file(self) -> str | None:
        """The name under which the block is written, if it is a file."""
        found = _TITLE.search(self.rest)
        return found.group(1) if found else None

    @property
    def needs_people(self) -> bool:
        """Whether it reads answers that are fetched, not shipped."""
        return "people" in self.rest.split()

    @property
    def runs(self) -> bool:
        """Whether the block is executed."""
        return self.language in ("sh", "python") and not self.file and "no-run" not in self.rest


@dataclass
class Session:
    """A folder and the names of the Python blocks run in it."""

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)
    demos: ClassVar[list[Path]] = []

    def run(self, block: Block) -> str:
        """Execute a block; what it printed, without trailing blanks."""
        if self._takes_a_made_demo(block):
            block = replace(block, text=block.text.replace(f"{_DEMO} > /dev/null", "true"))
        printed = self._shell(block) if block.language == "sh" else self._python(block)
        if _DEMO in block.text:
            self.demos.append(self.folder / "demo")
        return "\n".join(line.rstrip() for line in printed.strip("\n").splitlines())

    def _takes_a_made_demo(self, block: Block) -> bool:
        made = next((demo for demo in self.demos if demo.exists()), None)
        if made is None or f"{_DEMO} > /dev/null" not in block.text:
            return False
        shutil.copytree(made, self.folder / "demo")
        return True

    def _shell(self, block: Block) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-e", "-c", block.text],
            cwd=self.folder,
            env={**os.environ, "PATH": path, "COLUMNS": "100", "GITHUB_ACTIONS": ""},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{block.text}\nended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def _python(self, block: Block) -> str:
        tree, printed = ast.parse(block.text), io.StringIO()
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(printed), contextlib.chdir(self.folder):
            exec(compile(tree, "page", "exec"), self.names)
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), "page", "eval"), self.names)
                if value is not None:
                    print(value)
        return printed.getvalue()


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page."""
    return [Block(m[1], m[2], m[3], m.start(), m.end()) for m in _FENCE.finditer(text)]


def executed(page: Path, folder: Path) -> Iterator[tuple[Block, Block | None, str]]:
    """Run a page: each block, the frozen output behind it if any, and what it printed."""
    text, session = page.read_text(), Session(folder)
    found = blocks(text)
    for number, block in enumerate(found):
        if block.file:
            target = folder / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
        elif block.runs:
            after = found[number + 1] if number + 1 < len(found) else None
            frozen = (
                after
                if after is not None
                and after.language == "text"
                and not text[block.end : after.start].strip()
                else None
            )
            first = block.text.splitlines()[0]
            if block.needs_people and not _people():
                print(f"  left as frozen, no released answers: {first}", file=sys.stderr)
                yield block, frozen, "" if frozen is None else frozen.text.strip("\n")
                continue
            print(f"  {first}", file=sys.stderr, flush=True)
            yield block, frozen, session.run(block)


@cache
def _people() -> bool:
    """Put the released answers into this run's cache; False where they are not at hand."""
    beside = DOCS.parent.parent / "shared"
    folder = Path(os.environ.get("IMI_BENCH_SHARED", beside)) / "people" / "borowski2021"
    if not folder.is_dir():
        return False
    fetch_pinned(source=folder)
    return True


def rewritten(page: Path, folder: Path) -> str:
    """The page with today's outputs."""
    text, done, result = page.read_text(), 0, []
    for block, frozen, printed in executed(page, folder):
        result.append(text[done : block.end])
        done = frozen.end if frozen is not None else block.end
        if printed:
            result.append(f"\n\n```text\n{printed}\n```")
    return "".join([*result, text[done:]])


def differences(page: Path, folder: Path) -> list[str]:
    """Where today's outputs are not the frozen ones."""
    found = []
    for block, frozen, printed in executed(page, folder):
        wanted = frozen.text if frozen is not None else ""
        lines = (text.strip("\n").splitlines() for text in (wanted, printed))
        for line, (old, new) in enumerate(zip_longest(*lines, fillvalue=""), 1):
            if "varies" not in block.rest and not agree(old, new):
                where = f"{page.name}: `{block.text.splitlines()[0]}`, line {line}"
                found.append(f"{where}\n  frozen: {old}\n  now:    {new}")
    return found


def agree(old: str, new: str) -> bool:
    """Whether two lines say the same, numbers to within one unit of their last digit.

    Examples
    --------
    >>> agree("0.714 [0.639, 0.779]", "0.715 [0.639, 0.779]"), agree("r 0.71", "r 0.73")
    (True, False)
    """
    old, new = _SECONDS.sub("s", old), _SECONDS.sub("s", new)
    words = [re.sub(r"[\s─━]+", " ", _NUMBER.sub("#", line)).strip() for line in (old, new)]
    if words[0] != words[1]:
        return False
    return all(
        abs(_value(a) - _value(b)) <= max(1.001 * _last_digit(a), 1e-9)
        for a, b in zip(_NUMBER.findall(old), _NUMBER.findall(new), strict=True)
    )


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _last_digit(number: str) -> float:
    mantissa, _, exponent = number.partition("e")
    decimals = len(mantissa.partition(".")[2])
    if not decimals and not exponent:
        return 0.0  # counts are exact
    return 10.0 ** (int(exponent or 0) - decimals)


def main() -> None:
    """Check the pages named, or all of them; with `--write`, freeze them anew."""
    parser = argparse.ArgumentParser(description="Run the pages with frozen outputs.")
    parser.add_argument("pages", nargs="*", type=Path, default=PAGES)
    parser.add_argument("--write", action="store_true", help="freeze what is printed now")
    asked = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="imi-pages-") as scratch:
        os.environ["IMI_BENCH_CACHE"] = str(Path(scratch) / "cache")  # nothing from before
        for page in asked.pages:
            print(page.name, file=sys.stderr, flush=True)
            folder = Path(scratch) / page.stem
            folder.mkdir()
            if asked.write:
                page.write_text(rewritten(page, folder))
                _keep_figures(page, folder)
            else:
                found += differences(page, folder)
    if found:
        raise SystemExit(
            "\n".join(found) + "\nfreeze anew with --write, if this is as it should be"
        )


def _keep_figures(page: Path, folder: Path) -> None:
    for image in re.findall(r"\]\((figures/[^)]+)\)", page.read_text()):
        if (folder / Path(image).name).exists():
            target = page.parent / image
            target.parent.mkdir(exist_ok=True)
            with Image.open(folder / target.name) as drawn:
                drawn.thumbnail((1000, 1000))
                drawn.convert("RGB").quantize(96).save(target, optimize=True)


if __name__ == "__main__":
    main()
