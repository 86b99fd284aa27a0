"""Draw `docs/figures/report.png`: the first screen of the demo's report.

    python docs/draw_report.py [FOLDER OF imi-bench demo]

Without a folder the demo is run first. Needs Chromium.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).resolve().parent / "figures" / "report.png"
WIDTH, HEIGHT, SHOWN = 1240, 1500, 900  # window, and pixels kept in the README's picture


def screenshot(page: Path, target: Path) -> None:
    """What Chromium shows of a page, in light colours."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("no chromium on the PATH (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += ["--disable-quic", "--no-first-run", "--disable-background-networking"]
        flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={profile}"]
        flags += [f"--window-size={WIDTH},{HEIGHT}", "--virtual-time-budget=5000"]
        subprocess.run(
            [browser, *flags, f"--screenshot={target}", page.resolve().as_uri()],
            check=True,
            capture_output=True,
        )


def main() -> None:
    """Run the demo if need be, and draw."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch) / "demo"
        if not (folder / "report.html").exists():
            subprocess.run(["imi-bench", "demo", "--out", folder], check=True)
        raw = Path(scratch) / "screen.png"
        screenshot(folder / "report.html", raw)
        with Image.open(raw) as whole:
            small = whole.convert("RGB").resize((SHOWN, round(SHOWN * HEIGHT / WIDTH)))
        small.quantize(64, method=Image.Quantize.MEDIANCUT).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
