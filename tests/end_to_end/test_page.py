"""The page of `earsight serve`, used as people use it, in a real headless Chromium."""

import csv
import http.client
import io
import json
from pathlib import Path

import numpy as np
import pytest

from _browser import DRAWN, ODD, Page


def test_typed_words_find_sights_and_sounds_by_keys_alone(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.one("body").send_keys("/")  # the key that leads to the words
    typed = page.driver.switch_to.active_element
    assert typed.get_attribute("id") == "text"
    page.asked(lambda: typed.send_keys("an ambulance siren", Keys.ENTER))
    assert page.labels()[:2] == ["siren", "siren"]
    assert "video results, best first" in page.text("#said")
    scores = [float(e.text.replace("−", "-")) for e in page.all("#results .score")]
    assert scores == sorted(scores, reverse=True)
    assert len(page.all("#results img")) == len(scores)
    page.asked(lambda: page.all('input[value="visual"]')[0].send_keys(Keys.ARROW_RIGHT))
    assert "sound results, best first" in page.text("#said")
    assert len(page.all("#results canvas.wave")) == len(page.all("#results .card"))
    page.one("#results .face").send_keys(Keys.ARROW_RIGHT)
    second = page.all("#results .face")[1]
    assert page.driver.switch_to.active_element == second
    second.send_keys(Keys.ENTER)
    page.until(lambda: page.js("return document.querySelector('audio')?.currentTime > 0.1"))
    assert second.get_attribute("aria-pressed") == "true"
    second.send_keys(Keys.ESCAPE)
    assert not page.all("audio") and second.get_attribute("aria-pressed") == "false"


def test_a_dropped_file_is_answered_by_either_side(page: Page, asked_with: Path) -> None:
    page.asked(lambda: page.drop(asked_with / "another siren.mp4"))
    assert page.labels()[:2] == ["siren", "siren"]
    assert "another siren.mp4" in page.text("#asked")
    assert page.all('#asked input[value="audio"]')[0].is_selected()  # its sound finds sights
    for _ in range(2):  # over to the one, and back to the other
        page.asked(lambda: page.click("#asked label:has(input:not(:checked))"))
        assert page.labels()[0] == "siren"
    assert page.all('input[name="for"][value="visual"]')[0].is_selected()
    page.click("#start-over")
    assert page.one("#starter-list .card") and not page.all("#results .card")


def test_a_sight_plays_in_place_by_click_and_again_stops(page: Page) -> None:
    page.asked(lambda: page.one("#starter-list .sides button").click())
    page.click("#results .face")
    page.until(lambda: page.js("return document.querySelector('.face video')?.currentTime > 0.1"))
    assert page.js("return document.querySelector('.face video').muted") is False
    other = page.all("#results .face")[1]
    other.click()
    page.until(lambda: other.get_attribute("aria-pressed") == "true")
    assert len(page.all("video")) == 1
    other.click()
    assert not page.all("video")


def test_resting_on_a_card_plays_it_unless_motion_is_unwanted(page: Page) -> None:
    from selenium.webdriver import ActionChains

    page.asked(lambda: page.one("#starter-list .sides button").click())
    face = page.one("#results .face")
    page.js("window.seen = 0; addEventListener('play', () => { window.seen += 1 }, true)")
    ActionChains(page.driver).move_to_element(face).pause(0.4).perform()
    assert page.js("return window.seen") == 0
    moving = {"name": "prefers-reduced-motion", "value": "no-preference"}
    page.cdp("Emulation.setEmulatedMedia", features=[moving])
    ActionChains(page.driver).move_to_element(page.one("#for")).perform()
    ActionChains(page.driver).move_to_element(face).perform()
    page.until(lambda: page.js("return document.querySelector('.face video')?.currentTime > 0.1"))
    assert page.js("return document.querySelector('.face video').muted") is True
    ActionChains(page.driver).move_to_element(page.one("#for")).perform()
    page.until(lambda: not page.all("video"))


def test_answers_are_narrowed_by_class_and_by_length(page: Page) -> None:
    from selenium.webdriver.support.select import Select

    page.open("#search?text=music&for=visual")
    page.until(lambda: len(page.labels()) == 9)
    classes = Select(page.one("#label"))
    page.asked(lambda: classes.select_by_value("guitar"))
    assert page.labels() == ["guitar", "guitar"]
    page.asked(lambda: classes.select_by_visible_text("any"))
    page.asked(lambda: page.one("#max").send_keys("2"))
    assert [e.get_attribute("title") for e in page.all("#results .name")] == [ODD]
    page.one("#min").send_keys("1.9")
    page.says("#said", "No video found")


def test_one_answer_leads_to_the_next_and_back(page: Page) -> None:
    page.open("#search?text=a+guitar&for=visual")
    first = page.one("#results .card").get_attribute("data-id")
    page.asked(lambda: page.one("#results .like").click())
    assert f"clip={first}&by=visual&for=visual" in page.driver.current_url
    assert "the query itself" in page.text("#results .card")
    page.click("#results .menu summary")
    page.asked(lambda: page.one('#results [data-do="by-visual"]').click())
    assert page.all('input[name="for"][value="audio"]')[0].is_selected()  # a sight finds sounds
    page.driver.back()
    page.until(lambda: "by=visual&for=visual" in page.driver.current_url)
    page.driver.back()
    page.until(lambda: page.one("#text").get_attribute("value") == "a guitar")
    page.until(lambda: page.labels()[0] == "guitar")


def test_a_clip_that_comes_late_does_not_push_aside_what_was_asked_since(page: Page) -> None:
    page.open("#search?text=a+guitar&for=visual")
    first = page.one("#results .card").get_attribute("data-id")
    page.js(
        """
        const [at, real] = [location.hash, window.fetch];
        window.late = false;
        window.fetch = async (where, ...rest) => {
          const reply = await real(where, ...rest);
          if (!String(where).includes("/clips/")) return reply;
          await new Promise((done) => setTimeout(done, 500));
          setTimeout(() => { window.late = true; }, 200);
          return reply;
        };
        addEventListener("hashchange", () => { location.hash = at; }, { once: true });
        location.hash = `#search?clip=${arguments[0]}&by=visual&for=visual`;
        """,
        first,
    )
    page.until(lambda: page.js("return window.late"))
    assert page.one("#text").get_attribute("value") == "a guitar"


def test_a_clip_is_picked_from_the_list_by_its_name(page: Page) -> None:
    page.click("#pick")
    page.says("#picker-said", "10 clips")
    page.one("#picker-name").send_keys("SIREN_1")
    page.says("#picker-said", "1 clip")
    page.until(lambda: len(page.all("#picker-list li")) == 1)
    page.asked(lambda: page.one("#picker-list button").click())
    assert not page.all("dialog[open]")
    assert page.labels()[0] == "siren"
    assert "siren_1.mp4" in page.text("#asked")


def test_a_recording_asks(page: Page) -> None:
    page.click("#record")
    page.says("#record", "Stop (1 s)")
    page.asked(lambda: page.click("#record"))
    assert page.text("#record") == "Record"
    assert "recording.webm" in page.text("#asked")
    assert page.labels()[0] == "siren"


def test_what_is_no_media_is_refused_with_a_reason(page: Page, asked_with: Path) -> None:
    page.drop(asked_with / "letter.mp4")
    page.says("#failed", "letter.mp4")
    assert not page.all("#results .card")
    page.asked(lambda: page.drop(asked_with / "another siren.mp4"))
    assert not page.one("#main").find_elements("css selector", "#failed:not([hidden])")


def test_two_gigabytes_are_refused_by_the_page_and_by_the_server(
    page: Page, asked_with: Path
) -> None:
    huge = asked_with / "huge.mp4"
    page.all("#file")[0].send_keys(str(huge))
    page.says("#failed", "A file to search by may have 500 MB at most; huge.mp4 has 2,148 MB.")
    host = page.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=30)
    connection.putrequest("POST", "/api/search")
    (cookie,) = page.driver.get_cookies()
    connection.putheader("Cookie", f"{cookie['name']}={cookie['value']}")
    connection.putheader("Content-Type", "multipart/form-data; boundary=b")
    connection.putheader("Content-Length", str(huge.stat().st_size))
    connection.endheaders()
    reply = connection.getresponse()
    assert reply.status == 413
    assert "500,000,000 bytes" in json.loads(reply.read())["error"]
    connection.close()


def test_the_list_is_taken_away_as_csv_and_json(page: Page, asked_with: Path) -> None:
    page.open("#search?text=a+clock&for=visual")
    page.one("#results .card")
    page.click("#csv")
    rows = list(csv.DictReader(io.StringIO(page.downloaded("earsight.csv"))))
    assert [row["label"] for row in rows] == [
        label if label != "" else "" for label in page.labels()
    ]
    assert ODD in {row["path"] for row in rows}
    page.click("#json")
    found = json.loads(page.downloaded("earsight.json"))
    assert [str(one["score"]) for one in found["answers"]] == [row["score"] for row in rows]
    assert found["query"]["name"] == "a clock"
    page.cdp(
        "Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"]
    )
    page.click("#results .menu summary")
    page.click('#results [data-do="copy"]')
    page.says("#toasts", "Copied: ")
    copied = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert Path(copied) == asked_with / "clips" / rows[0]["path"] and Path(copied).is_file()


def test_names_of_files_are_words_and_never_markup(page: Page) -> None:
    page.open("#search?text=red&for=visual")
    page.until(lambda: ODD in page.text("#results"))
    page.click("#pick")
    page.until(lambda: ODD in page.text("#picker-list"))
    assert page.driver.title == "Search · Earsight"
    assert not page.all('img[src="x"]')


def test_a_click_on_the_map_plays_that_clip(page: Page) -> None:
    page.open("#search?text=a+bird&for=visual")
    page.one("#results .card")
    page.click('a[href="#map"]')
    page.says("#map-note", "18 points")
    points = page.js("return fetch('/api/map').then(r => r.json())")["points"]
    x, y = (np.array([point[axis] for point in points]) for axis in "xy")
    box = page.js("const b = document.getElementById('canvas').getBoundingClientRect();"
                  "return [b.left, b.top, b.width, b.height]")  # fmt: skip
    # Where the points must lie: the whole spread in the middle 92 % of the canvas, undistorted.
    unit = 0.92 * min(box[2] / np.ptp(x), box[3] / np.ptp(y))
    across = box[0] + box[2] / 2 + unit * (x - (x.min() + x.max()) / 2)
    down = box[1] + box[3] / 2 - unit * (y - (y.min() + y.max()) / 2)
    apart = np.hypot(across[:, None] - across, down[:, None] - down) + 1e9 * np.eye(len(points))
    alone = int(apart.min(axis=1).argmax())
    at = {"x": float(across[alone]), "y": float(down[alone]), "button": "left", "clickCount": 1}
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        page.cdp("Input.dispatchMouseEvent", type=kind, **at)
    card = page.one("#map-clip .card")
    assert int(card.get_attribute("data-id")) == points[alone]["id"]
    medium = "audio" if points[alone]["modality"] == "audio" else "video"
    page.until(lambda: page.js(f"return document.querySelector('{medium}')?.currentTime > 0.1"))


def test_the_map_by_keys_and_its_legend(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.open("#map")
    page.says("#map-note", "18 points")
    canvas = page.one("#canvas")
    canvas.send_keys(Keys.ARROW_RIGHT)
    page.until(lambda: ".mp4, " in page.text("#map-said"))
    first = page.text("#map-said")
    canvas.send_keys(Keys.ARROW_RIGHT)
    page.until(lambda: ".mp4, " in page.text("#map-said") and page.text("#map-said") != first)
    canvas.send_keys("+", Keys.ENTER)
    page.one("#map-clip .card")

    def inked() -> int:
        code = """const c = document.getElementById('canvas');
            const k = new OffscreenCanvas(c.width, c.height).getContext('2d');
            k.drawImage(c, 0, 0);
            const d = k.getImageData(0, 0, c.width, c.height).data, p = [d[0], d[1], d[2]];
            let n = 0;
            for (let i = 0; i < d.length; i += 4) n += Math.abs(d[i] - p[0])
            + Math.abs(d[i + 1] - p[1]) + Math.abs(d[i + 2] - p[2]) > 150; return n"""
        return int(page.js(code))

    canvas.send_keys("0")
    page.until(lambda: inked() > 300)
    whole = inked()
    page.click("#show-audio")
    page.until(lambda: inked() < 0.8 * whole)
    for box in page.all("#classes input"):
        box.click()
    page.until(lambda: inked() < 0.2 * whole)


def test_quality_is_measured_and_shown(page: Page) -> None:
    page.open("#quality")
    page.click("#measure-go")
    page.one(".heat td")
    figures = [e.text for e in page.all(".figure")]
    assert len(figures) == 2 and all(0 <= float(figure) <= 1 for figure in figures)
    assert page.text("#quality").count("chance") >= 4
    assert [e.text for e in page.all(".perclass tbody th")] == list(DRAWN)
    rows = page.all(".heat tbody tr")
    assert len(rows) == len(DRAWN)
    shares = [int(cell.text or 0) for cell in rows[0].find_elements("css selector", "td")]
    assert sum(shares) == pytest.approx(100, abs=len(shares))
    assert page.all(".case .strip .face")
    page.click(".query-clip .face")
    page.until(lambda: page.js("return document.querySelector('video, audio')?.currentTime > 0.1"))
