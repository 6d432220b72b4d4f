"""A page is a link on a terminal, and opens in the browser that there is, whose words are nobody's result."""

import io
import sys
from pathlib import Path

import pytest

from commands import wait_until
from lewm_cli.report import Output

SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, path: Path, *, opened: bool = False, **how: bool) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    Output(**{"as_json": False, "quiet": False} | how).page(path, opened=opened)
    return stream.getvalue()


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page with a name that a shell and a URI would take for something else; there is no screen."""
    for name in (*SCREENS, "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    path = tmp_path / "a [bold]page'; of ü%20.html"
    path.write_text("<!doctype html>")
    return path


@pytest.mark.parametrize("color", [{}, {"NO_COLOR": "1"}])
def test_page_is_a_link_on_a_terminal(page: Path, monkeypatch: pytest.MonkeyPatch, color: dict[str, str]):
    for name, value in color.items():
        monkeypatch.setenv(name, value)
    line = said(monkeypatch, Terminal(), page)
    assert f";{page.as_uri()}\x1b\\{page}\x1b]8;;" in line
    assert line.count("\n") == 1


def test_relative_page_is_linked_by_its_whole_path(page: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(page.parent)
    line = said(monkeypatch, Terminal(), Path(page.name))
    assert page.as_uri() in line
    assert f"\x1b\\{page.name}\x1b" in line


@pytest.mark.parametrize(
    ("stream", "setting", "how"),
    [
        (io.StringIO, "", {}),
        (io.StringIO, "FORCE_COLOR", {}),
        (Terminal, "", {"as_json": True}),
        (Terminal, "dumb", {}),
    ],
    ids=["pipe", "pipe with colors", "json", "dumb terminal"],
)
def test_page_is_a_plain_line_elsewhere(
    page: Path, monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], setting: str, how: dict[str, bool]
):
    if setting == "dumb":
        monkeypatch.setenv("TERM", setting)
    elif setting:
        monkeypatch.setenv(setting, "1")
    assert said(monkeypatch, stream(), page, **how) == f"report: {page}\n"


def browser(folder: Path, body: str) -> str:
    script = folder / "browser"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.slow
def test_page_opens_in_the_browser_that_is_named(page: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    seen = page.parent / "seen"
    monkeypatch.setenv("BROWSER", browser(page.parent, f'echo chatter; echo "$1" > {seen}.part; mv {seen}.part {seen}'))
    assert said(monkeypatch, io.StringIO(), page, opened=True) == f"report: {page}\n"
    wait_until(seen.exists)
    assert seen.read_text().strip() == page.as_uri()
    assert capfd.readouterr().out == ""  # what a browser says is not our result


@pytest.mark.slow
def test_browser_that_stays_open_is_left_alone(page: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lewm_cli.report.browser.OPENED", 0.1)
    monkeypatch.setenv("BROWSER", browser(page.parent, "exec sleep 2"))
    assert said(monkeypatch, io.StringIO(), page, opened=True) == f"report: {page}\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is a browser to try")
@pytest.mark.parametrize("name", ["", "no-such-browser"])
def test_machine_without_screen_or_browser_gets_a_line(page: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv("PATH", str(page.parent))
    if name:
        monkeypatch.setenv("BROWSER", str(page.parent / name))
    first, second = said(monkeypatch, io.StringIO(), page, opened=True).splitlines()
    assert first == f"report: {page}"
    assert second == "there is no browser or no screen here to open it; open this file where there is one"
    assert said(monkeypatch, io.StringIO(), page, opened=True, quiet=True) == ""
