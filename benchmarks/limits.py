"""Every long command under a limit of memory, open files or file size: one line, nothing half done.

Each command of `kills.py` runs once to its end, then under each limit. It must end with 0, 2, 3 or
70, say what is wrong in one line (no traceback), leave no temporary file, and go on to the same
outputs once the limit is gone.

    python benchmarks/limits.py [--only fit predict]
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
from collections.abc import Callable

from kills import PROGRAM, commands, leftovers, outputs, prepare, workshop

MEGABYTE = 1 << 20
LIMITS: dict[str, tuple[int, int]] = {
    "memory 600 MB": (resource.RLIMIT_AS, 600 * MEGABYTE),
    "memory 900 MB": (resource.RLIMIT_AS, 900 * MEGABYTE),
    "memory 1,300 MB": (resource.RLIMIT_AS, 1300 * MEGABYTE),
    "16 open files": (resource.RLIMIT_NOFILE, 16),
    "files of 2 kB": (resource.RLIMIT_FSIZE, 2048),
    "files of 64 kB": (resource.RLIMIT_FSIZE, 65536),
}


def limited(kind: int, most: int) -> Callable[[], None]:
    def apply() -> None:
        resource.setrlimit(kind, (most, most))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    return apply


def run(arguments: list[str], before: Callable[[], None] | None = None) -> tuple[int, str]:
    ended = subprocess.run(
        PROGRAM + arguments,
        capture_output=True,
        preexec_fn=before,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    return ended.returncode, ended.stderr.decode(errors="replace")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    print("| command | limit | code | said | in one line | clean | goes on alike |")
    print("|---|---|---|---|---|---|---|")
    with workshop() as root:
        for name, make in commands(root / "in").items():
            if arguments.only and name not in arguments.only:
                continue
            prepare(name, root / name / "reference")
            code, said = run(make(root / name / "reference"))
            if code:
                raise SystemExit(f"{name} ends with {code}: {said[-300:]}")
            wanted = outputs(name, root / name / "reference")
            for number, (limit, (kind, most)) in enumerate(LIMITS.items()):
                work = root / name / str(number)
                prepare(name, work)
                code, said = run(make(work), limited(kind, most))
                lines = [line for line in said.splitlines() if line.startswith("error")]
                one = code == 0 or ("Traceback" not in said and len(lines) == 1)
                clean = not leftovers(work)
                again = run(make(work))[0] == 0 and outputs(name, work) == wanted
                last = (said.strip().splitlines() or [""])[-1][:110]
                print(f"| {name} | {limit} | {code} | {last} | {one} | {clean} | {again} |")


if __name__ == "__main__":
    main()
