"""A name that promises another form than what is written there is refused, before any work."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from imi_bench.choice.calibration import Calibration
from imi_bench.cli.app import app
from imi_bench.cli.guard import OUTPUTS
from imi_bench.cli.metavars import verbs
from imi_bench.errors import InputError
from imi_bench.glmm.saved import save_model
from imi_bench.pages.shell import write_page
from imi_bench.release.bug_report import write_bug_report

ASKED = [
    (verb, name, hint.__metadata__[0].callback)
    for verb, _, callback in verbs(app)
    for name, hint in callback.__annotations__.items()
    if name in (*OUTPUTS, "report")
    and name in inspect.signature(callback).parameters
    and "Path" in str(hint)
    and "Write" in str(hint.__metadata__[0].help) + "Write" * (name in OUTPUTS)
]


@pytest.mark.parametrize(("verb", "name", "check"), ASKED, ids=[f"{v} {n}" for v, n, _ in ASKED])
def test_every_output(verb: str, name: str, check) -> None:
    wrong = "x.docx" if name in ("figure", "plot") else "x.xlsx"
    with pytest.raises(InputError, match=r"not a .*'s name: x\.\w+: wanted a "):
        check(Path(wrong))
    assert check(None) is None


def test_all_verbs_that_write_are_asked() -> None:
    assert len(ASKED) > 25, ASKED


@pytest.mark.parametrize(
    ("name", "verb"), [("m.csv", "fit"), ("m", "fit"), ("x.html", "gate"), ("b.txt", "verify")]
)
def test_some_by_hand(imi_bench_main, tmp_path: Path, name: str, verb: str) -> None:
    given = {
        "fit": ("fit", "y ~ 1 + (1|g)", "none.csv", "--save"),
        "gate": ("gate", "new", "--against", "old", "--markdown"),
        "verify": ("data", "verify", "--report"),
    }[verb]
    code, _, said = imi_bench_main(*given, tmp_path / name)
    assert code == 2
    assert f"{name}: wanted a name that ends in" in said
    assert not (tmp_path / name).exists()


def test_a_folder_that_is_there_may_have_any_name(imi_bench_main, tmp_path: Path) -> None:
    check = next(check for verb, name, check in ASKED if (verb, name) == ("paper", "out"))
    (tmp_path / "a.csv").mkdir()
    assert check(tmp_path / "a.csv") == tmp_path / "a.csv"
    assert check(Path("runs.v2")) == Path("runs.v2")


def test_in_python(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    for write in (
        lambda: save_model(None, path, data=path),  # type: ignore[arg-type]
        lambda: Calibration.write(None, path),  # type: ignore[arg-type]
        lambda: write_page(path, "imi_bench.report", "paper.html", {}),
        lambda: write_bug_report([], path),
    ):
        with pytest.raises(InputError, match="wanted a name that ends in"):
            write()
    assert not path.exists()
