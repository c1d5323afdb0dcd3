"""A real headless Chromium on a real `earsight serve`, for the tests of the page."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from _clips import make_clip

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
WHY_NOT = "needs chromium and chromedriver: run tests/install_browser.sh as root"
DRAWN = ("bird", "clock", "guitar", "siren")
ODD = "<img src=x onerror=document.title=1>.mp4"
WAIT = 60.0  # seconds until something that must come counts as not coming

FLAGS = (
    "--headless=new",
    "--no-sandbox",  # CI runs as root
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--autoplay-policy=user-gesture-required",  # what people have
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)

OPERABLE = {
    "button", "checkbox", "combobox", "DisclosureTriangle", "link", "radio", "searchbox",
    "spinbutton", "textbox", "application",
}  # fmt: skip

# Text whose contrast with what lies behind it is too low: WCAG's formula, 4.5, or 3 where large.
CONTRAST = """
const rgb = (c) => {
  const k = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  k.fillStyle = c; k.fillRect(0, 0, 1, 1); const d = k.getImageData(0, 0, 1, 1).data;
  return [d[0], d[1], d[2], d[3] / 255]; };
const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
const lum = (c) => c.slice(0, 3).map((v) => v / 255)
  .map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
  .reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
const behind = (e) => { const own = rgb(getComputedStyle(e).backgroundColor);
  return own[3] === 1 || !e.parentElement ? own : over(own, behind(e.parentElement)); };
const bad = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const e = walk.currentNode.parentElement, style = getComputedStyle(e);
  if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest(':disabled')) continue;
  if (e.closest('.unseen, .query h1, script, style')) continue;
  const back = behind(e), front = over(rgb(style.color), back);
  const [hi, lo] = [lum(front), lum(back)].sort((a, b) => b - a);
  const large = parseFloat(style.fontSize) >= 24;
  if ((hi + .05) / (lo + .05) < (large ? 3 : 4.5))
    bad.push([walk.currentNode.data.trim(), ((hi + .05) / (lo + .05)).toFixed(2)]);
}
return bad;
"""


@contextmanager
def serving(library: Path) -> Iterator[str]:
    """Run `earsight serve` on a free port, and give the link that it prints."""
    serve = ["serve", "-l", str(library), "--port", "0", "--json"]
    command = [sys.executable, "-m", "earsight", *serve]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    late = threading.Timer(120, process.kill)  # then the line below is empty
    late.start()
    try:
        told = process.stdout.readline()
        late.cancel()
        assert told, f"earsight serve told no address; it ended with {process.wait()}"
        yield str(json.loads(told)["url"])
    finally:
        late.cancel()
        process.terminate()
        process.wait(20)
        process.stdout.close()


def start_chromium(heard: Path, downloads: Path, *more: str) -> Any:
    """Start Chromium with `more` flags; its microphone hears the WAV file `heard`."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (
        *FLAGS,
        *more,
        f"--use-file-for-fake-audio-capture={heard}",
        "--window-size=1280,900",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    folder = str(downloads)
    driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": folder}
    )
    return driver


class Page:
    """The page in the browser, as a person sees it who has opened the link.

    Attributes:
        url: Its address, without the token and the last slash.
    """

    def __init__(self, driver: Any, link: str, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads
        self.url = link.partition("/?token=")[0]
        self.enter(link)

    def enter(self, link: str) -> None:
        """Open a link with a token, which leads to the page."""
        self.driver.get(link)
        self.until(lambda: self.js("return document.documentElement?.dataset.ready"))

    def open(
        self, view: str = "#search", *, width: int = 1280, height: int = 900, dark: bool = False
    ) -> None:
        """Load the page afresh, in a window of some size and in light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.cdp("Emulation.setDeviceMetricsOverride", **size)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        calm = {"name": "prefers-reduced-motion", "value": "reduce"}  # nothing fades in meanwhile
        self.cdp("Emulation.setEmulatedMedia", features=[theme, calm])
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/{view}")
        self.until(lambda: self.js("return document.documentElement?.dataset.ready"))

    def cdp(self, command: str, **arguments: object) -> Any:
        return self.driver.execute_cdp_cmd(command, arguments)

    def js(self, code: str, *arguments: object) -> Any:
        return self.driver.execute_script(code, *arguments)

    def until(self, true: Callable[[], Any], seconds: float = WAIT) -> Any:
        """Wait for something to hold, and return it."""
        end = time.monotonic() + seconds
        while not (found := true()):
            assert time.monotonic() < end, f"it did not come; the page says {self.text('main')!r}"
            time.sleep(0.03)
        return found

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> Any:
        return self.until(lambda: [e for e in self.all(selector) if e.is_displayed()])[0]

    def click(self, selector: str) -> None:
        self.one(selector).click()

    def text(self, selector: str) -> str:
        return str(self.js("return document.querySelector(arguments[0]).innerText", selector))

    def says(self, selector: str, words: str) -> None:
        """Wait until an element says something."""
        self.until(lambda: words in self.text(selector))

    def asked(self, act: Callable[[], object]) -> list[Any]:
        """Do something that asks, and return the cards that answer it."""
        self.js("for (const e of document.querySelectorAll('#results li')) e.dataset.old = 'yes'")
        act()
        return self.until(
            lambda: not self.all("#results[aria-busy], [data-old]") and self.all("#results .card")
        )

    def labels(self) -> list[str]:
        code = "return [...document.querySelectorAll('#results .card')].map(c => c.dataset.label)"
        return [str(label) for label in self.js(code)]

    def drop(self, path: Path) -> None:
        """Drop a file as the mouse would."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.cdp("Input.dispatchDragEvent", type=kind, x=400, y=400, data=data)

    def downloaded(self, name: str) -> str:
        path = self.downloads / name
        self.until(path.exists)
        text = path.read_text()
        path.unlink()
        return text

    def complaints(self) -> list[str]:
        """What the console says that is no remark on a refused request."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if "the server responded with a status of 4" not in entry["message"]
        ]


@pytest.fixture(scope="session")
def asked_with(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library of drawn clips, clips/, and beside it files to ask with."""
    from earsight.demo.clip import film, take
    from earsight.demo.sounds import RATE
    from earsight.library.indexing.pipeline import index

    folder = tmp_path_factory.mktemp("page")
    for label in DRAWN:
        (folder / "clips" / label).mkdir(parents=True)
        for number in range(2):
            film(folder / "clips" / label / f"{label}_{number}.mp4", label, 0, number)
    make_clip(folder / "clips" / ODD, 1.0)
    (folder / "clips" / "torn.mp4").write_text("This is no film.")
    index(folder / "clips", workers=1, learn="never")
    film(folder / "another siren.mp4", "siren", 1, 0)
    (folder / "letter.mp4").write_text("This is no film either.")
    with (folder / "huge.mp4").open("wb") as file:
        file.truncate(2 << 30)  # sparse: it takes no disk
    with wave.open(str(folder / "heard.wav"), "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes((take("siren", 2, 0).sound * 32767).astype("<i2").tobytes())
    return folder


@pytest.fixture(scope="session")
def browser(request: pytest.FixtureRequest) -> Iterator[Page]:
    """Chromium with the page of that library; skipped, and said so, where there is none."""
    if not (CHROMIUM and DRIVER):
        if os.environ.get("EARSIGHT_CI"):
            pytest.fail(WHY_NOT)
        pytest.skip(WHY_NOT)
    folder: Path = request.getfixturevalue("asked_with")
    downloads = folder / "downloads"
    downloads.mkdir()
    with serving(folder / "clips") as link:
        driver = start_chromium(folder / "heard.wav", downloads)
        try:
            yield Page(driver, link, downloads)
        finally:
            driver.quit()


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    """The page, freshly loaded; whatever a test does, the console has nothing to complain of."""
    browser.open()
    browser.complaints()
    yield browser
    complaints = browser.complaints()
    assert not complaints, complaints
