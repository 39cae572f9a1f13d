"""Chromium without a window, for tests of pages: Debian's chromium and chromium-driver, moved by selenium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_ABSENT = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
_ABSENT += [] if find_spec("selenium") else ["the package selenium"]
needs_browser = pytest.mark.skipif(
    bool(_ABSENT),
    reason=f"no browser to test in: {', '.join(_ABSENT)} not found (apt-get install chromium chromium-driver)",
)
_SWITCHES = (
    *("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run"),
    *("disable-quic", "disable-background-networking", "disable-component-update", "disable-sync"),
)


@contextmanager
def browser(profile: Path) -> Iterator[Chrome]:
    """A fresh browser with its profile in an empty folder, 1280 x 900; closed at the end. It keeps the console's lines."""
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for switch in (*_SWITCHES, f"user-data-dir={profile}", "window-size=1280,900"):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()
