"""The page in a real browser, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from msae_jax import data
from msae_jax import weights as w
from msae_jax.train import evaluation
from tests.explorer.conftest import Opened

CANVAS = "canvas.points >> nth=0"
DECODED = "#sample-figures canvas >> nth=2"


@pytest.fixture(scope="module")
def page(digits_page: Path, open_page: Opened) -> Any:
    return open_page(digits_page)


@pytest.fixture(autouse=True)
def _nothing_complains(page: Any) -> Any:
    page.evaluate("explorer.state.active === 0 || document.querySelector('[name=seed]').click()")
    yield
    assert page.problems == []


def picture(page: Any, selector: str) -> str:
    return page.eval_on_selector(selector, "canvas => canvas.toDataURL()")


def at_mark(page: Any) -> tuple[float, float]:
    """Returns where on the screen the decoded point is: the selected sample is brought to sight."""
    page.evaluate("window.scrollTo(0, 0)")
    box = page.locator(CANVAS).bounding_box()
    x, y = page.evaluate("explorer.screen(0)")
    return box["x"] + x, box["y"] + y


def test_it_is_ready_soon_and_asks_for_nothing(page: Any, digits_page: Path) -> None:
    assert page.requests == [digits_page.as_uri()]
    assert int(page.evaluate("document.documentElement.dataset.ready")) < 5000
    assert "all 360 test samples, 3 latents, seeds 0, 1" in page.text_content("#summary")


def test_its_policy_stops_what_would_ask(digits_page: Path, open_page: Opened) -> None:
    own = open_page(digits_page)
    failed = own.evaluate("fetch('https://example.org/').then(() => 'sent', () => 'stopped')")
    assert failed == "stopped"
    assert any("Content Security Policy" in text for text in own.problems)


def test_it_decodes_what_reconstruct_gives(page: Any, digits_run: Path) -> None:
    x = data.load("digits").test.x
    for position, seed in enumerate((0, 1)):
        weights = w.load_weights(digits_run, seed=seed)
        expected = evaluation.reconstruct(weights.model, weights.variables, x[:20])
        found = page.evaluate(
            """k => {
              const own = explorer.state.content.models[k];
              return Array.from({length: 20}, (_, i) =>
                Array.from(own.decode(own.latents.slice(i * own.dims, (i + 1) * own.dims))));
            }""",
            position,
        )
        np.testing.assert_allclose(found, expected.reshape(20, -1), atol=1e-5, rtol=0)
        errors = page.evaluate("k => Array.from(explorer.state.content.models[k].errors)", position)
        means = np.square(expected.reshape(20, -1) - x[:20].reshape(20, -1) / 255).mean(axis=1)
        np.testing.assert_allclose(errors[:20], means, rtol=1e-4)


def test_the_picture_changes_while_a_point_is_dragged(page: Any) -> None:
    page.fill("#search", "5")
    page.press("#search", "Enter")
    pictures = [picture(page, DECODED)]
    x, y = at_mark(page)
    page.mouse.move(x, y)
    page.mouse.down()
    for step in (1, 2):
        page.mouse.move(x + 60 * step, y - 25 * step)
        page.wait_for_timeout(60)
        pictures.append(picture(page, DECODED))
    page.mouse.up()
    assert len(set(pictures)) == 3
    moved = page.evaluate("Array.from(explorer.state.z)")
    plane = page.evaluate("explorer.state.p")
    # What is orthogonal to the plane has stayed, and the latent lies where the pointer is.
    own = page.evaluate(
        """() => { const m = explorer.state.content.models[0];
          return {z: Array.from(m.latents.slice(15, 18)), v: Array.from(m.components),
                  mean: Array.from(m.mean)}; }"""
    )
    v = np.array(own["v"]).reshape(2, 3)
    change = np.array(moved) - own["z"]
    np.testing.assert_allclose(change, v.T @ (v @ change), atol=1e-5)
    np.testing.assert_allclose(v @ (np.array(moved) - own["mean"]), plane, atol=1e-5)
    page.keyboard.press("Escape")
    assert picture(page, DECODED) == pictures[0]


def test_a_slider_moves_one_latent(page: Any) -> None:
    page.click("#restore") if page.is_enabled("#restore") else None
    before = page.evaluate("Array.from(explorer.state.z)")
    page.focus("#z2")
    page.keyboard.press("End")
    page.wait_for_timeout(60)
    after = page.evaluate("Array.from(explorer.state.z)")
    assert after[1] > before[1]
    assert [after[0], after[2]] == [before[0], before[2]]


def test_keys_reach_everything(page: Any) -> None:
    """Every control has a name, and Tab reaches the plane, the sliders and every panel."""
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.wait_for_timeout(300)  # until the panels have drawn
    nameless = page.evaluate(
        """Array.from(document.querySelectorAll('button, select, input, canvas'))
          .filter(e => !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim()))
          .map(e => e.outerHTML)"""
    )
    assert nameless == []
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    wanted = {"colour", "search", "points", "next", "z1", "walk-at", "sum-go", "prior-go"}
    assert wanted | {"caught-near", "zoom-all"} <= reached


def test_arrow_keys_move_the_point_and_page_keys_the_sample(page: Any) -> None:
    page.fill("#search", "7")
    page.press("#search", "Enter")
    page.focus(CANVAS)
    before, p = picture(page, DECODED), page.evaluate("explorer.state.p")
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_timeout(60)
    q = page.evaluate("explorer.state.p")
    assert q[0] > p[0]
    assert q[1] == p[1]
    assert picture(page, DECODED) != before
    page.wait_for_timeout(200)
    assert "Moved" in page.text_content("#status")
    page.keyboard.press("PageDown")
    page.wait_for_timeout(200)
    assert "Sample 8, class" in page.text_content("#status")


def test_a_lasso_averages_what_it_catches(page: Any) -> None:
    page.check("[name=mode][value=lasso]")
    page.evaluate("window.scrollTo(0, 0)")
    box = page.locator(CANVAS).bounding_box()
    corners = [
        (2, 2),
        (box["width"] - 2, 2),
        (box["width"] - 2, box["height"] - 2),
        (2, box["height"] - 2),
    ]
    for i, (x, y) in enumerate(corners):
        page.mouse.move(box["x"] + x, box["y"] + y)
        if i == 0:
            page.mouse.down()
    page.mouse.up()
    page.check("[name=mode][value=move]")
    assert page.evaluate("explorer.state.caught.length") == 360
    page.wait_for_selector("#caught-figures >> text=of all 360")
    assert "360 samples are caught" in page.text_content("#caught-text")
    found = page.eval_on_selector(
        "#caught-figures canvas",
        "canvas => Array.from(canvas.getContext('2d').getImageData(0, 0, 28, 28).data)",
    )
    expected = data.load("digits").test.x.mean(axis=0).ravel()
    np.testing.assert_allclose(found[::4], expected, atol=1)
    page.click("#caught-clear")
    page.fill("#caught-count", "9")
    page.click("#caught-near")
    assert page.evaluate("explorer.state.caught.length") == 9


def test_seeds_stand_side_by_side(page: Any) -> None:
    assert page.locator("canvas.points").count() == 2
    page.click("[name=seed] >> nth=1")
    assert page.evaluate("explorer.state.active") == 1
    assert page.locator(".plane .small canvas").count() == 2
    page.click("[name=seed] >> nth=0")


def test_tools_decode(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.fill("#walk-to", "40")
    page.press("#walk-to", "Enter")
    page.select_option("#walk-kind", "spherical")
    page.focus("#walk-at")
    page.keyboard.press("End")
    latent = page.evaluate("Array.from(explorer.state.z)")
    expected = page.evaluate("Array.from(explorer.state.content.models[0].latents.slice(120, 123))")
    np.testing.assert_allclose(latent, expected, atol=1e-6)
    page.click("#sum-go")
    latents = np.array(
        page.evaluate("Array.from(explorer.state.content.models[0].latents.slice(0, 9))")
    ).reshape(3, 3)
    latent = page.evaluate("Array.from(explorer.state.z)")
    np.testing.assert_allclose(latent, latents[0] - latents[1] + latents[2], atol=1e-6)
    assert "N(0, I)" in page.text_content("#prior-text")
    drawn = picture(page, "#prior-figures canvas >> nth=0")
    page.click("#prior-go")
    assert picture(page, "#prior-figures canvas >> nth=0") != drawn


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])
def test_it_fits_a_phone_and_a_desk(
    digits_page: Path, open_page: Opened, width: int, scheme: str
) -> None:
    own = open_page(digits_page, width, 800, scheme)
    assert own.evaluate("document.documentElement.scrollWidth") <= width
    columns = own.evaluate("getComputedStyle(document.getElementById('main')).gridTemplateColumns")
    assert len(columns.split()) == (1 if width < 700 else 2)
    ground = own.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(22, 23, 24)" if scheme == "dark" else "rgb(246, 246, 244)")
    assert own.problems == []
