"""Pictures of the page for README and docs: `make screenshots`.

Draws the clips of `earsight demo` into demo/clips, indexes them, serves them, and photographs each
view in a headless Chromium into docs/pictures/page-*.png; ten of them joined are a recording, to
look into by the second. What is there already is kept, so a second run takes seconds. Letters are
drawn by what fonts the machine has; ours had Inter (`apt-get install fonts-inter`).
"""

import io
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image

from _browser import Page, serving, start_chromium
from earsight.demo import draw
from earsight.library.indexing.pipeline import index

CLIPS = Path("demo/clips")
RECORDING = Path("demo/recording")
JOINED = ("rain", "bird", "drum", "siren", "guitar", "clock", "siren", "ball", "bird", "fireworks")
PICTURES = Path(__file__).parent / "pictures"
MOST = 200_000  # bytes of a picture


def main() -> None:
    """Make them all."""
    draw(CLIPS, per_class=20, seed=0)
    index(CLIPS)
    RECORDING.mkdir(exist_ok=True)
    chosen = [sorted((CLIPS / name).glob("*.mp4"))[at] for at, name in enumerate(JOINED)]
    if not (RECORDING / "an evening.mp4").exists():
        _join(chosen, RECORDING / "an evening.mp4")
    index(RECORDING, learn="never")
    driver = start_chromium(Path("none.wav"), PICTURES, "--hide-scrollbars")
    try:
        with serving(CLIPS) as link:
            _photograph(Page(driver, link, PICTURES))
        with serving(RECORDING) as link:
            _photograph_time(Page(driver, link, PICTURES))
    finally:
        driver.quit()


def _join(clips: list[Path], out: Path) -> None:
    """Write clips of one kind one after another; nothing is encoded again."""
    with av.open(str(out), "w") as made:
        streams: dict[str, av.stream.Stream] = {}
        end = Fraction(0)
        for clip in clips:
            with av.open(str(clip)) as source:
                for stream in source.streams:
                    if stream.type not in streams:
                        streams[stream.type] = made.add_stream_from_template(stream)
                packets = [packet for packet in source.demux() if packet.dts is not None]
                begin = end - min(packet.dts * packet.time_base for packet in packets)
                for packet in packets:
                    moved = round(begin / packet.time_base)
                    packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                    end = max(end, (packet.pts + packet.duration) * packet.time_base)
                    packet.stream = streams[packet.stream.type]
                    made.mux(packet)


def _photograph_time(page: Page) -> None:
    page.open("#search?text=an+ambulance+siren&for=visual", height=830)
    page.asked(lambda: page.click("#moments"))
    page.click("#results .clip-dialog-open")
    page.until(lambda: page.all("#clip-dialog-chart .moment"))
    page.until(
        lambda: page.js("return document.querySelector('#clip-dialog video').readyState >= 2")
    )
    page.click("#sync-check")
    page.until(lambda: "…" not in page.text("#sync-said") and page.text("#sync-said"))
    page.js("document.querySelector('#clip-dialog video').controls = false")
    _until_drawn(page.until, page.js)
    picture = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    _keep("time", picture)


def _photograph(page: Page) -> None:
    _keep("start", _taken(page, "#search", "#starter-list img", height=620))
    _keep("search", _taken(page, "#search?text=a+bird+in+a+tree&for=visual", "#results img"))
    drums = page.js("return fetch('/api/clips?label=drum').then(r => r.json())")["clips"]
    asked = f"#search?clip={drums[3]['id']}&by=visual&for=audio"
    _keep("sounds", _taken(page, asked, "#results .card", dark=True))
    _keep("map", _taken(page, asked, "#results .card", then="#map", height=830))
    page.open("#quality")
    page.click("#measure-go")
    page.until(lambda: page.all(".heat td"), 600)
    _keep("quality", _taken(page, "#quality", ".case img", height=2300))
    phones = [
        _taken(page, "#search", "#starter-list img", width=360, height=720),
        _taken(page, asked, "#results .card", width=360, height=720, dark=True),
        _taken(page, asked, "#results .card", then="#map", width=360, height=720),
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
