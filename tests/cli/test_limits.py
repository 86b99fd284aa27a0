"""Too little memory, too small files: one line with what to do, and nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imi_bench.cli.app import killed_worker, tight_memory

resource = pytest.importorskip("resource")
# Set once all is loaded, and OpenBLAS has its buffers, whose size differs between processors: a
# library that lacks memory in its own loader, or OpenBLAS, may end the process.
PROGRAM = """
import resource, sys
import imi_bench.simulation.release, imi_bench.tables.parquet, numpy, pandas, scipy.special
from scipy.linalg.blas import dgemm
from imi_bench.cli.app import main
square = numpy.ones((256, 256))
square @ square
dgemm(1.0, square, square)
kind, most, more = (int(sys.argv.pop(1)) for _ in range(3))
if more:
    pages = int(open("/proc/self/statm").read().split()[0])
    most = pages * resource.getpagesize() + more
sys.dont_write_bytecode = True  # or halves of it stay behind for everybody
resource.setrlimit(kind, (most, most))
main()
"""


def under(kind: int, folder: Path, *, most: int = 0, more: int = 0) -> tuple[int, str]:
    """The exit code and what was said, at `most` bytes, or `more` than what is already held."""
    limit = [str(number) for number in (kind, most, more)]
    verb = ["data", "simulate", "--out", str(folder / "made.csv")]
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *limit, *verb],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    return ended.returncode, ended.stderr


@pytest.mark.whole
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound address space")
@pytest.mark.parametrize("megabytes", [16, 64])
def test_out_of_memory_is_one_line_and_code_70(tmp_path: Path, megabytes: int) -> None:
    code, said = under(resource.RLIMIT_AS, tmp_path, more=megabytes << 20)
    assert (code, "Traceback" in said) == (70, False), said
    assert [line for line in said.splitlines() if "memory" in line], said
    assert not list(tmp_path.iterdir())


@pytest.mark.whole
def test_a_file_that_may_not_grow_is_one_line_and_code_2(tmp_path: Path) -> None:
    code, said = under(resource.RLIMIT_FSIZE, tmp_path, most=4096)
    assert (code, "Traceback" in said) == (2, False)
    assert "ulimit -f" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("most", "said"),
    [(300 << 20, "limited to 300 MB"), (2 << 30, None), (resource.RLIM_INFINITY, None)],
)
def test_a_limit_under_which_libraries_abort_is_said(
    most: int, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (most, most))
    line = tight_memory()
    assert line is None if said is None else said in str(line)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("x.so: failed to map segment from shared object"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
        OSError("x.so: cannot allocate memory in static TLS block"),
        ImportError("std::bad_alloc"),
        SystemError("error return without exception set"),
        SystemError("<built-in function f> returned NULL without setting an exception"),
    ],
)
def test_libraries_that_find_no_memory_are_understood(error: Exception) -> None:
    assert "memory" in (killed_worker(error) or "")


@pytest.mark.parametrize(
    "words",
    [
        ("stimuli", "show", "nowhere", "--out", "sheet"),
        ("model", "ranef", "nowhere.json", "--plot", "plot.xyz"),
        ("model", "means", "nowhere.json", "mode", "--plot", "plot.xyz"),
        ("model", "residuals", "nowhere.json", "--plot", "plot.xyz"),
        ("data", "multiverse", "--figure", "figure.xyz"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_drawn_to_is_refused_before_anything_is_read(
    words: tuple[str, ...], imi_bench_main: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = imi_bench_main(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: not a picture's name")
