"""Pages in a headless Chromium: what they say on the console and ask of the network fails the test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., Any]]:
    """Starts a headless Chromium that is installed on this machine, with arguments."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is on PATH")
    quiet = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync"]
    with sync.sync_playwright() as playwright:
        yield lambda *arguments: playwright.chromium.launch(executable_path=found, args=[*quiet, *arguments])


@pytest.fixture(scope="session")
def browser(launch: Callable[..., Any]) -> Iterator[Any]:
    """One without a GPU."""
    running = launch("--disable-gpu")
    yield running
    running.close()


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens HTML as a file in a browser without a network; in the end no page may have said or asked for anything."""
    contexts = []
    said: list[str] = []
    path = tmp_path / "page.html"

    def asked(request: Any) -> None:
        if not request.url.startswith(("data:", "blob:", path.as_uri())):
            said.append(f"asked for {request.url}")

    def opened(html: str, anchor: str = "", **options: Any) -> Any:
        path.write_text(html, encoding="utf-8")
        contexts.append(browser.new_context(**options))
        contexts[-1].set_offline(True)
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", asked)
        page.goto(path.as_uri() + anchor)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []
