"""Pages that several files look at, and a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.in_process import msae

Opened = Callable[..., Any]


@pytest.fixture(scope="package")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of a small variational model of real digits."""
    out = tmp_path_factory.mktemp("explorer") / "run"
    small = ["--set", "hidden=[16]", "--set", "latent_dim=3", "--epochs", "1", "--seeds", "2"]
    small += ["--batch-size", "479"]  # a third of them
    assert msae("train", "--model", "vae3", "--data", "digits", *small, "--out", out) == 0
    return out


@pytest.fixture(scope="package")
def digits_page(digits_run: Path) -> Path:
    """The page of `digits_run`, whose name tries to leave its place."""
    page = digits_run.parent / "digits.html"
    assert msae("explore", digits_run, "--out", page) == 0
    return page


@pytest.fixture(scope="package")
def open_page() -> Iterator[Opened]:
    """Opens a file in a headless browser without a network; returns the page.

    The page has `requests`, `problems` (what its console and its scripts complain of).
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
    found = os.environ.get("MSAE_BROWSER") or shutil.which("chromium")
    if found is None:
        pytest.skip("no chromium to open the page with")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)

        def opened(path: Path, width: int = 1200, height: int = 900, scheme: str = "light") -> Any:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
            )
            page = context.new_page()
            page.requests, page.problems = [], []
            page.on("request", lambda request: page.requests.append(request.url))
            page.on("console", lambda message: page.problems.append(message.text))
            page.on("pageerror", lambda error: page.problems.append(str(error)))
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]", timeout=30_000)
            return page

        yield opened
        browser.close()
