"""Time, texts and copies on the page: the clip dialog, moments, sync."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from _browser import CONTRAST, OPERABLE, Page, serving
from _clips import make_clip
from _strokes import make_strokes

QUERY = "#search?text=red&for=visual"
FETCH = "const done = arguments[0]; fetch('{}').then((r) => r.json()).then(done)"


def two_halves(t: float) -> np.ndarray:
    return np.full((120, 160, 3), (30, 60, 200) if t < 10 else (220, 30, 30), dtype=np.uint8)


@pytest.fixture(scope="module")
def timed(browser: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The same browser on a library with a long clip, a late one, copies, texts, an odd name."""
    from earsight.library.indexing.pipeline import index

    folder = tmp_path_factory.mktemp("timed") / "clips"
    folder.mkdir()
    make_clip(folder / "long.mp4", 20.0, fps=5, draw=two_halves)
    make_strokes(folder / "late.mp4", 0.44)
    make_clip(folder / "silent.mp4", audio=False)
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(folder / "silent.mp4", folder / name)
    make_clip(folder / "x.mp4", colour=(20, 90, 20)).rename(folder / os.fsdecode(b"caf\xe9.mp4"))
    (folder / "long.txt").write_text("A blue wall, and then a red wall.")
    index(folder, workers=1, learn="never")
    with serving(folder) as link:
        yield Page(browser.driver, link, browser.downloads)


@pytest.fixture
def page(timed: Page) -> Iterator[Page]:
    timed.complaints()
    yield timed
    complaints = timed.complaints()
    assert not complaints, complaints


def api(page: Page, path: str) -> Any:
    return page.driver.execute_async_script(FETCH.format(path))


def card(page: Page, name: str) -> Any:
    page.one("#results .card")
    found = [e for e in page.all("#results .card") if e.text and name in e.text]
    return found[0]


def open_dialog(page: Page, name: str) -> None:
    card(page, name).find_element("css selector", ".clip-dialog-open").click()
    page.one("#clip-dialog[open]")


def at(page: Page) -> float:
    return float(
        page.js(
            "return document.querySelector('#clip-dialog video, #clip-dialog audio').currentTime"
        )
    )


def test_the_similarity_over_time_leads_to_its_seconds(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.open(QUERY)
    open_dialog(page, "long.mp4")
    page.until(lambda: page.all("#clip-dialog-chart .curve"))
    clips = api(page, "/api/clips")["clips"]
    number = next(clip["id"] for clip in clips if clip["path"] == "long.mp4")
    found = api(page, f"/api/clips/{number}/timeline?text=red&for=visual")
    assert len(found["scores"]) == 20 and len(set(found["scores"])) > 2
    best = found["times"][int(np.argmax(found["scores"]))]
    told = f"Best at {best:.1f} s" if best < 10 else "Best at "
    assert told in page.text("#clip-dialog-best")
    assert f"similarity {max(found['scores']):.2f}" in page.text("#clip-dialog-best")
    assert page.text("#clip-dialog-caption") == "How well each second fits “red”"
    slider = page.one("#clip-dialog-chart")
    assert float(slider.get_attribute("aria-valuemax")) == pytest.approx(20, abs=0.2)
    slider.send_keys(Keys.HOME)
    assert at(page) == 0
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.PAGE_UP)
    assert at(page) == pytest.approx(12, abs=0.01)
    assert slider.get_attribute("aria-valuetext").startswith("12 s, similarity ")
    slider.send_keys(Keys.CONTROL, Keys.HOME, Keys.CONTROL)  # is none of the slider's
    assert at(page) == pytest.approx(12, abs=0.01)
    box = slider.rect
    where = {"x": box["x"] + 0.25 * box["width"], "y": box["y"] + 40}
    for kind in ("mousePressed", "mouseReleased"):
        page.cdp("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)
    page.until(lambda: 5 < at(page) < 12)  # it jumped back there, and plays
    assert page.js("return document.querySelector('#clip-dialog video').paused") is False
    slider.send_keys(" ")
    page.until(lambda: page.js("return document.querySelector('#clip-dialog video').paused"))
    slider.send_keys(Keys.ESCAPE)
    page.until(lambda: not page.all("dialog[open]"))
    page.until(lambda: not page.all("video"))
    assert "clip-dialog-open" in page.driver.switch_to.active_element.get_attribute("class")


def test_moments_are_asked_for_and_marked(page: Page) -> None:
    page.open(QUERY)
    page.one("#results .card")
    page.asked(lambda: page.click("#moments"))
    found = api(page, "/api/search?text=red&for=visual&top=24&moments=true")["answers"]
    assert "moment" in page.text("#said")
    shown = [int(e.get_attribute("data-id")) for e in page.all("#results .card")]
    assert shown == [one["id"] for one in found]
    parts = [one for one in found if one["start"] > 0 or one["end"] < one["seconds"] - 1]
    red = next(one for one in parts if one["path"] == "long.mp4")
    page.js("document.querySelector('#results').scrollIntoView()")
    number = found.index(red)
    assert f"{red['end']:.0f}" in page.all("#results .length")[number].text
    page.all("#results .clip-dialog-open")[number].click()
    page.until(lambda: page.all("#clip-dialog-chart .moment"))
    mark = page.one("#clip-dialog-chart .moment")
    assert float(mark.get_attribute("x")) == red["start"]
    assert float(mark.get_attribute("width")) == pytest.approx(red["end"] - red["start"], abs=0.2)
    page.until(lambda: at(page) == pytest.approx(red["start"], abs=0.05))
    page.click("#clip-dialog-close")


def test_by_rhythm_the_best_are_put_in_another_order(page: Page) -> None:
    clips = api(page, "/api/clips")["clips"]
    number = next(clip["id"] for clip in clips if clip["path"] == "late.mp4")
    page.open(f"#search?clip={number}&by=audio&for=visual")
    page.one("#results .card")
    page.click("#moments")
    page.until(lambda: "moment" in page.text("#said"))
    page.asked(lambda: page.click("#timing"))
    assert page.js("return document.getElementById('moments').checked") is False
    page.until(lambda: "re-ranked by timing" in page.text("#said"))
    asked = f"/api/search?clip={number}&by=audio&for=visual&top=24&rhythm=true"
    shown = [int(e.get_attribute("data-id")) for e in page.all("#results .card")]
    assert shown == [one["id"] for one in api(page, asked)["answers"]] and shown[0] == number
    assert "timing " in page.text("#results .card")
    page.open(QUERY)
    page.one("#results .card")
    assert page.all("#timing")[0].get_attribute("disabled")  # words have no timing


def test_a_file_that_was_dropped_is_held_against_each_second(page: Page, tmp_path: Path) -> None:
    page.open("#search")
    wall = make_clip(tmp_path / "wall.mp4", audio=False, colour=(220, 30, 30))
    page.asked(lambda: page.drop(wall))
    page.asked(lambda: page.all('input[name="for"][value="visual"]')[0].click()
               if not page.all('input[name="for"][value="visual"]')[0].is_selected()
               else page.drop(wall))  # fmt: skip
    open_dialog(page, "long.mp4")
    page.until(lambda: page.all("#clip-dialog-chart .curve"))
    assert page.text("#clip-dialog-caption") == "How well each second fits the video of wall.mp4"
    page.click("#clip-dialog-close")


def test_a_late_sound_is_told_and_played_repaired(page: Page) -> None:
    page.open(QUERY)
    open_dialog(page, "late.mp4")
    page.click("#sync-check")
    page.says("#sync-said", "ms late; ")
    assert abs(int(page.text("#sync-said").split()[3]) - 440) <= 40
    assert "of 10 independent estimates agree" in page.text("#sync-said")
    source = "return document.querySelector('#clip-dialog video').currentSrc"
    page.click("#sync-play")
    page.until(lambda: page.js(source).endswith("/repaired") and at(page) > 0.2)
    page.click("#sync-play")
    page.until(lambda: page.js(source).endswith("/media"))
    assert page.text("#sync-play") == "Play the repaired copy"
    page.click("#clip-dialog-close")
    open_dialog(page, "long.mp4")  # nothing begins to sound in it
    page.click("#sync-check")
    page.says("#sync-said", "No offset was found. ")
    assert not page.one("#sync").find_elements("css selector", "#sync-play:not([hidden])")
    page.click("#clip-dialog-close")
    open_dialog(page, "a.mp4")  # without sound
    assert not page.all("#sync:not([hidden])")


def test_files_that_hold_the_same_are_one_card(page: Page) -> None:
    page.open(QUERY)
    one = card(page, "a.mp4")
    one.find_element("css selector", ".copies summary").click()
    assert [e.text for e in one.find_elements("css selector", ".copies li")] == [
        "b.mp4",
        "silent.mp4",
    ]
    assert len(page.all("#results .card")) == 4 and len(page.all("#results .copies")) == 1


def test_texts_are_looked_for_where_there_are_some(page: Page) -> None:
    page.open(QUERY)
    page.one("#results .card")
    page.asked(lambda: page.click("#for-text"))
    page.says("#results .excerpt", "A blue wall, and then a red wall.")
    assert page.text("#said").startswith("1 text result, best first")
    assert page.all("#moments")[0].get_attribute("disabled")
    page.click("#results .menu summary")
    page.asked(lambda: page.click('#results [data-do="by-text"]'))
    assert "by=text&for=visual" in page.driver.current_url
    assert page.all('#asked input[value="text"]')[0].is_selected()


def test_there_is_no_such_choice_without_texts(browser: Page) -> None:
    browser.open()
    assert not browser.one("#for").find_elements("css selector", "#for-text:not([hidden])")


def test_names_that_are_no_letters_are_readable(page: Page) -> None:
    page.open(QUERY)
    assert card(page, "caf\ufffd.mp4")
    page.click("#pick")
    page.until(lambda: "caf\ufffd.mp4" in page.text("#picker-list"))
    assert "%E9" not in page.text("#picker-list")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_clip_dialog_is_for_everyone(page: Page, dark: bool) -> None:
    page.open(QUERY, width=320, dark=dark)
    open_dialog(page, "late.mp4")
    page.until(lambda: page.all("#clip-dialog-chart .curve"))
    page.click("#sync-check")
    page.says("#sync-said", "independent estimates agree")
    assert page.js(CONTRAST) == []
    nodes = [n for n in page.cdp("Accessibility.getFullAXTree")["nodes"] if not n["ignored"]]
    roles = [(n["role"]["value"], n.get("name", {}).get("value", "").strip()) for n in nodes]
    assert [role for role, name in roles if role in OPERABLE | {"slider"} and not name] == []
    assert ("slider", "How well each second fits “red”") in roles
    assert ("dialog", "late.mp4") in roles
    code = """return [...document.querySelectorAll('#clip-dialog *')].filter(e =>
        e.checkVisibility() && e.getBoundingClientRect().right > 321).map(e => e.id || e.tagName)"""
    assert page.js(code) == []
