"""The page for everyone: names, landmarks, contrast, a phone; and indexing, which changes it."""

from itertools import pairwise

import pytest

from _browser import CONTRAST, OPERABLE, Page
from _clips import make_clip

VIEWS = {
    "start": "#search",
    "answers": "#search?text=a+siren&for=audio",
    "clip": "#search?clip=1&by=audio&for=visual",
    "map": "#map",
    "quality": "#quality",
    "library": "#library",
}
SETTLED = {
    "start": "#starter-list img",
    "answers": "#results .card",
    "clip": "#results .card",
    "map": "#classes .check",
    "quality": "#measure-go",
    "library": "#trouble table",
}


def show(page: Page, view: str, **how: object) -> None:
    page.open(VIEWS[view], **how)  # type: ignore[arg-type]
    page.one(SETTLED[view])


@pytest.mark.parametrize("view", VIEWS)
def test_everything_that_can_be_used_has_a_name(page: Page, view: str) -> None:
    show(page, view)
    nodes = [n for n in page.cdp("Accessibility.getFullAXTree")["nodes"] if not n["ignored"]]
    roles = [(n["role"]["value"], n.get("name", {}).get("value", "").strip()) for n in nodes]
    assert [role for role, name in roles if role in OPERABLE and not name] == []
    assert sum(role in OPERABLE for role, _ in roles) > 5
    assert {"banner", "navigation", "main", "contentinfo"} <= {role for role, _ in roles}
    levels = [
        p["value"]["value"]
        for n in nodes
        if n["role"]["value"] == "heading"
        for p in n["properties"]
        if p["name"] == "level"
    ]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert page.js("return document.querySelectorAll('img:not([alt])').length") == 0
    code = """const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
        return ids.filter((id, at) => ids.indexOf(id) !== at)"""
    assert page.js(code) == []
    assert page.js("return document.documentElement.lang") == "en"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out_in_light_and_dark(page: Page, dark: bool) -> None:
    for view in VIEWS:
        show(page, view, dark=dark)
        assert page.js(CONTRAST) == [], view
    paper = page.js("return getComputedStyle(document.body).backgroundColor")
    page.click("#theme")  # as the system → light
    chosen = page.js("return getComputedStyle(document.body).backgroundColor")
    assert (chosen != paper) == dark
    page.click("#theme")
    page.click("#theme")  # and back to the system's
    assert page.js("return localStorage.getItem('earsight-theme')") == ""


@pytest.mark.parametrize("view", VIEWS)
def test_it_fits_a_phone(page: Page, view: str) -> None:
    show(page, view, width=320)
    assert page.js("return document.documentElement.scrollWidth") <= 320
    code = """return [...document.querySelectorAll('button, summary, select, nav a')]
        .filter(e => e.checkVisibility()).map(e => [e.innerText, e.getBoundingClientRect()])
        .filter(([, b]) => b.height < 24 || b.width < 24 || b.right > 321).map(([t]) => t)"""
    assert page.js(code) == []


def test_the_focus_is_seen_and_stays_on_the_page(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    reached = []
    for _ in range(12):
        page.driver.switch_to.active_element.send_keys(Keys.TAB)
        found = page.js("""const e = document.activeElement, s = getComputedStyle(
            e.type === 'radio' ? e.nextElementSibling : e);
            return [e.id || e.dataset.view || e.className || e.value, s.outlineStyle,
                    e.closest('.query-line') !== null]""")
        reached.append(found[0])
        assert found[1] != "none" or found[2], found
    assert reached[0] == "skip" and {"text", "go", "choose", "record", "pick"} <= set(reached)
    page.click("#pick")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    page.until(lambda: not page.all("dialog[open]"))
    assert page.driver.switch_to.active_element.get_attribute("id") == "pick"


def test_indexing_from_the_page_shows_what_is_new_and_what_had_trouble(
    page: Page, asked_with: object
) -> None:
    page.open("#library")
    page.says("#trouble", "torn.mp4")
    assert "unreadable" in page.text("#trouble")
    assert page.text("#trouble-count") == "1"
    assert "10" in page.text("#facts")
    new = asked_with / "clips" / "new.mp4"  # type: ignore[operator]
    make_clip(new, tone=880)
    try:
        page.click("#index-go")
        page.until(lambda: "11 clips: 1 read" in page.text("#index-said"))
        page.until(lambda: "11" in page.text("#facts dd + dt + dd"))
    finally:
        new.unlink()
    page.click("#index-go")
    page.until(lambda: "1 gone" in page.text("#index-said"))
    page.open("#map")
    page.says("#map-note", "18 points")


def test_twenty_thousand_points_are_all_there_to_be_pointed_at(page: Page) -> None:
    found = page.driver.execute_async_script("""
        const done = arguments[0];
        import('/page/projection.js').then(({ Projection }) => {
          const canvas = document.createElement('canvas');
          canvas.style.cssText = 'display:block;width:900px;height:600px';
          document.body.append(canvas);
          const n = 20000, plane = new Projection(canvas, { hover() {}, choose() {} });
          const all = (T, f) => T.from({ length: n }, (_, i) => f(i));
          const points = { n, x: all(Float32Array, (i) => Math.cos(i * 2.4) * Math.sqrt(i / n)),
            y: all(Float32Array, (i) => Math.sin(i * 2.4) * Math.sqrt(i / n)), reach: [1, 1],
            group: all(Uint8Array, (i) => i % 13), round: all(Uint8Array, (i) => i % 2),
            shown: all(Uint8Array, (i) => i % 3 ? 1 : 0), colours: Array(13).fill('#123456') };
          plane.set(points); plane.zoomBy(8, 450, 300); plane.panBy(40, -25); plane.draw();
          const wrong = [];
          for (let i = 0; i < n; i += 97) {
            const [px, py] = plane.toScreen(points.x[i], points.y[i]);
            const hit = plane.nearest(px, py);
            const right = hit >= 0 && points.shown[hit] && (hit === i || !points.shown[i]);
            if (!right) wrong.push([i, hit]);
          }
          canvas.remove();
          done(wrong);
        });""")
    hidden = [i for i, _ in found if i % 3 == 0]
    assert found == [[i, -1] for i in hidden]  # a hidden point with no shown one near
