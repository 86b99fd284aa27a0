"""Run every ``bench_*.py`` beside this file, one after the other; fail if one fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    scripts = sorted(Path(__file__).parent.glob("bench_*.py"))
    wanted = [s for s in scripts if not sys.argv[1:] or s.stem.removeprefix("bench_") in sys.argv]
    failed = []
    for script in wanted:
        print(f"\n== {script.name}", flush=True)
        if subprocess.run([sys.executable, str(script)], check=False).returncode:
            failed.append(script.name)
    if failed:
        print("failed:", ", ".join(failed))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
