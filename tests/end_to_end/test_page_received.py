"""The page of a library that somebody else made: what it lacks here is said, nothing is broken."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from _browser import Page, serving
from _received import set_info
from earsight.library.catalog.location import FOLDER

UNKNOWN = "does not know where the file of"


@contextmanager
def opened(browser: Page, library: Path) -> Iterator[Page]:
    """Show the page of another library in the same browser; the console must not complain."""
    with serving(library) as link:
        page = Page(browser.driver, link, browser.downloads)
        page.open()
        page.complaints()
        yield page
        assert not page.complaints()
        page.driver.get("about:blank")


def test_clips_that_this_machine_does_not_have(browser: Page, made: Path, tmp_path: Path) -> None:
    received = shutil.copytree(made / FOLDER, tmp_path / "received")
    with opened(browser, received) as page:
        page.open("#search?clip=1&by=visual&for=visual")
        page.says("#results .face", "no picture available here")
        page.until(lambda: not page.all(".face img"))  # each is asked for by itself
        assert page.all("#results .card")
        assert "does not know where the clips of the library" in page.text("#asked")
        page.click("#results .face")
        page.says("#toasts", UNKNOWN)
        assert not page.all("#results video")
        page.click("#results [aria-label^='Details of']")
        page.says("#clip-dialog-failed", UNKNOWN)


def test_a_library_whose_extractors_ask_for_a_file(
    browser: Page, made: Path, tmp_path: Path
) -> None:
    library = Path(shutil.copytree(made, tmp_path / "clips"))
    spec = "inception:pca=/somewhere/pca.safetensors"
    set_info(library, lambda info: info["sources"].update(visual=spec))
    with opened(browser, library) as page:
        page.says("#no-words", "asks to read the file /somewhere/pca.safetensors")
        assert page.one("#text").get_property("disabled")
        page.drop(library / "red/a.mp4")
        page.says("#failed", "To agree to that: --trust-library")
        page.open("#search?clip=1&by=visual&for=visual")
        page.until(lambda: page.all("#results .card"))
        page.open("#library")
        page.says("#facts", "not available. The library")
