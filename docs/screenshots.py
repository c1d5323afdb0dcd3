"""Pictures of the page for README and docs: `make screenshots`.

Draws the clips of `earsight demo` into demo/clips, indexes them, serves them, and photographs each
view in a headless Chromium into docs/pictures/page-*.png. What is there already is kept, so a
second run takes seconds. Letters are drawn by what fonts the machine has; ours had Inter
(`apt-get install fonts-inter`).
"""

import io
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from _browser import Page, serving, start_chromium
from earsight.demo import draw
from earsight.library.build import index

CLIPS = Path("demo/clips")
PICTURES = Path(__file__).parent / "pictures"
MOST = 200_000  # bytes of a picture


def main() -> None:
    """Make them all."""
    draw(CLIPS, per_class=20, seed=0)
    index(CLIPS)
    with serving(CLIPS) as url:
        driver = start_chromium(Path("none.wav"), PICTURES, "--hide-scrollbars")
        try:
            _photograph(Page(driver, url, PICTURES))
        finally:
            driver.quit()


def _photograph(page: Page) -> None:
    _keep("start", _taken(page, "#search", "#starter-list img", height=620))
    _keep("search", _taken(page, "#search?text=a+bird+in+a+tree&for=visual", "#answers img"))
    drums = page.js("return fetch('/api/clips?label=drum').then(r => r.json())")["clips"]
    asked = f"#search?clip={drums[3]['id']}&by=visual&for=audio"
    _keep("sounds", _taken(page, asked, "#answers .card", dark=True))
    _keep("map", _taken(page, asked, "#answers .card", then="#map", height=830))
    page.open("#quality")
    page.click("#measure-go")
    page.until(lambda: page.all(".heat td"), 600)
    _keep("trust", _taken(page, "#quality", ".case img", height=2300))
    phones = [
        _taken(page, "#search", "#starter-list img", width=360, height=720),
        _taken(page, asked, "#answers .card", width=360, height=720, dark=True),
        _taken(page, asked, "#answers .card", then="#map", width=360, height=720),
    ]
    _keep("phone", _side_by_side(phones))


def _taken(
    page: Page,
    view: str,
    settled: str,
    *,
    then: str = "",
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
) -> Image.Image:
    """Open a view (and then another), wait until `settled` and its pictures are there."""
    page.open(view, width=width, height=height, dark=dark)
    page.until(lambda: page.all(settled))
    if then:
        page.click(f'a[href="{then}"]')
        page.until(lambda: page.all("#classes .check"))
    _until_drawn(page.until, page.js)
    return Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")


def _until_drawn(until: Callable[..., object], js: Callable[[str], object]) -> None:
    inside = "e => e.checkVisibility() && e.getBoundingClientRect().top < innerHeight"
    for what, undrawn in (("img", "!e.complete"), ("canvas.wave", "!e.dataset.drawn")):
        code = f"""return ![...document.querySelectorAll('{what}')].filter({inside})
            .some(e => {undrawn})"""
        until(lambda code=code: js(code))
    time.sleep(0.3)  # the last frame


def _side_by_side(pictures: list[Image.Image], gap: int = 24) -> Image.Image:
    width = sum(one.width + gap for one in pictures) + gap
    sheet = Image.new("RGB", (width, pictures[0].height + 2 * gap), (222, 219, 211))
    at = gap
    for one in pictures:
        sheet.paste(one, (at, gap))
        at += one.width + gap
    return sheet


def _keep(name: str, picture: Image.Image) -> None:
    """Write a PNG with as many colours as MOST allows."""
    for colors in (None, 256, 160, 96, 64, 48, 32):
        buffer = io.BytesIO()
        few = picture
        if colors:
            few = picture.quantize(colors, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MOST:
            break
    (PICTURES / f"page-{name}.png").write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
