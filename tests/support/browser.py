"""A headless Chromium for tests of pages. Tests are skipped where there is none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

_OPTIONS = (
    "--no-sandbox",  # root cannot have one
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium, or that of `playwright install chromium`."""
    with sync_playwright() as playwright:
        installed = shutil.which("chromium") or playwright.chromium.executable_path
        if not Path(installed).is_file():
            pytest.skip("there is no Chromium; `apt-get install chromium` to test the page")
        browser = playwright.chromium.launch(executable_path=installed, args=list(_OPTIONS))
        try:
            yield browser
        finally:
            browser.close()
