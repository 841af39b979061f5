"""Tabs of headless Chromium that note what they complain of and what they ask elsewhere for."""

from __future__ import annotations

import base64
import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDED = [
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="the extra `screens` is not installed"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (Debian: apt install chromium)"),
]
LOOKS = {
    "light": {"viewport": {"width": 1200, "height": 800}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1200, "height": 800}, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 360, "height": 740}, "color_scheme": "light"},
}


@dataclass(frozen=True)
class Watched:
    """A tab, with what it complained of and what it asked elsewhere for."""

    tab: Any
    said: list[str]
    abroad: list[str]

    def clean(self) -> None:
        assert self.said == [] and self.abroad == []


@contextmanager
def opened(browser: Any, url: str, **look: Any) -> Iterator[Watched]:
    """A tab of its own; requests to another place than `url` are noted and stopped."""
    context = browser.new_context(**look)
    context.set_default_timeout(10_000)
    said: list[str] = []
    abroad: list[str] = []

    def route(found: Any) -> None:
        if found.request.url.startswith((url, "data:", "blob:")):
            found.continue_()
        else:
            abroad.append(found.request.url)
            found.abort()

    context.route("**/*", route)
    tab = context.new_page()
    tab.on(
        "console", lambda line: said.append(f"{tab.url}: {line.text}") if line.type in ("error", "warning") else None
    )
    tab.on("pageerror", lambda problem: said.append(f"{tab.url}: {problem}"))
    try:
        yield Watched(tab, said, abroad)
    finally:
        context.close()


def dropped(tab: Any, content: bytes) -> Any:
    """A picture as a drop carries it."""
    return tab.evaluate_handle(
        """content => {
          const bytes = Uint8Array.from(atob(content), c => c.charCodeAt(0)), carried = new DataTransfer();
          carried.items.add(new File([bytes], "05.png", { type: "image/png" }));
          return carried;
        }""",
        base64.b64encode(content).decode(),
    )
