"""Makes docs/gallery: what `lewm view` and `lewm demo` show of the run of a quickstart.

    make demo && python bench/gallery.py .demo

Both pages are opened in a headless Chromium: a picture of the viewer, and a film of the model that plans.
"""

import argparse
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from lewm_cli.flows.demo import write_demo
from lewm_cli.flows.quickstart import RUN
from lewm_cli.flows.view import write_view
from lewm_cli.store import NO_OPTIONS, Home

SIZE = {"width": 1360, "height": 860}

WIDTH, MARGIN = 960, 16
"""Pixels of the pictures, and around what is in them."""

BETWEEN = 90
"""Milliseconds between frames of the film."""

LAST, LONGEST = 1500, 160
"""Milliseconds that the last frame stays, and frames at most."""


def main() -> None:
    """Draw the pages of a home, and look at them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("home", type=Path, help="of a quickstart")
    parser.add_argument("--run", default=RUN)
    parser.add_argument("--out", type=Path, default=Path("docs/gallery"))
    arguments = parser.parse_args()
    folder, out = arguments.home.absolute(), arguments.out
    out.mkdir(exist_ok=True)
    home = Home(write=folder, read=(folder,))
    view = write_view(home, [arguments.run], out / "view.html", print)
    shown = max(view.sides[0].films.films, key=lambda film: (film.success, len(film.plans)))
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        path = Path(scratch) / "demo.html"
        demo = write_demo(home, arguments.run, path, print, dataset=None, external=NO_OPTIONS).path
        names = ("chromium", "chromium-browser", "google-chrome")
        found = next(found for name in names if (found := shutil.which(name)))
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=SIZE)
        page.goto(f"{view.path.absolute().as_uri()}#pair={shown.number}&step={shown.plans[-1].step}")
        page.wait_for_timeout(1000)
        _picture(page).save(out / "view.webp", quality=85)
        page.goto(demo.as_uri())
        page.evaluate("demo.ready")
        frames = _film(page)
        durations = [BETWEEN] * (len(frames) - 1) + [LAST]
        frames[0].save(
            out / "demo.webp", save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=70
        )
        browser.close()
    for made in sorted(out.iterdir()):
        print(f"{made}  {made.stat().st_size / 1e3:.0f} kB")


def _film(page: Any) -> list[Image.Image]:
    """The page from play until the goal is reached."""
    page.evaluate("() => { demo.play(); }")
    frames = []
    while len(frames) < LONGEST:
        frames.append(_picture(page))
        page.wait_for_timeout(BETWEEN)
        if not page.evaluate("demo.playing"):
            break
    return [*frames, _picture(page)]


def _picture(page: Any) -> Image.Image:
    box = page.locator(".columns").bounding_box()
    around = {"x": box["x"] - MARGIN, "y": box["y"] - MARGIN}
    size = {"width": box["width"] + 2 * MARGIN, "height": box["height"] + 2 * MARGIN}
    seen = Image.open(io.BytesIO(page.screenshot(clip=around | size, full_page=True))).convert("RGB")
    return seen.resize((WIDTH, round(seen.height * WIDTH / seen.width)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
