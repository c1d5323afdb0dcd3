"""Two hundred questions at once: each is answered, also by a server that just began."""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from _server import serving
from earsight.library.client import Library
from earsight.library.reports.preview import PreviewReader
from earsight.web import app_state

AT_ONCE = 200
KINDS = (
    "/api/search?text=a+red+wall+{any}", "/api/search?text=a+wall+{any}&moments=true",
    "/api/search?clip={id}", "/api/clips/{id}/timeline?text=a+wall+{any}",
    "/api/clips/{id}/media", "/api/clips/{id}/thumbnail?at=0.{any}", "/api/clips/{id}/waveform",
    "/api/clips", "/api/library", "/api/map", "/api/trouble", "/api/index",
    "/", "/page/page.js", "/docs",
)  # fmt: skip
SLOW = ("/api/clips/{id}/offset", "/api/clips/{id}/repaired", "/api/search?clip={id}&rhythm=true")
REFUSED = {  # how a path ends → how it may be refused; all else must be answered
    "/text": {"404"},  # no clip has one
    "/offset": {"429"},  # few are looked at together
    "/repaired": {"409", "429"},  # there is nothing to repair
    "&rhythm=true": {"400", "429"},  # the clips are too short to have a timing
}


def whole_clips(folder: Path) -> list[int]:
    """Return the numbers of the clips that have sound and sight, so all can be asked of them."""
    with Library(folder) as library:
        return [clip.id for clip in library.clips() if len(clip.has) == 2 and clip.status == "ok"]


@contextmanager
def started(folder: Path) -> Iterator[int]:
    """Run `earsight serve`, and give its port as soon as it tells it: all is cold."""
    command = [sys.executable, "-m", "earsight", "serve", "-l", str(folder), "--port=0"]
    process = subprocess.Popen(
        [*command, "--no-token", "--json"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        url = json.loads(process.stdout.readline())["url"]
        yield int(url.rstrip("/").rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


async def answered(port: int, path: str, seconds: float, *, part: bool, stays: bool) -> str:
    """Ask on a connection of its own; return "fine", "refused" or what is wrong."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
            lines += ["Range: bytes=0-999"] * part + ["Connection: close"] * (not stays)
            writer.write("\r\n".join([*lines, "", ""]).encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            size = head.partition("content-length:")[2].split()[0]
            await reader.readexactly(int(size))
            writer.close()
            status = head.split()[1]
            if status in ("200", "206"):
                return "fine"
            may_be = next((fine for end, fine in REFUSED.items() if path.endswith(end)), set())
            return "refused" if status in may_be else f"{path}: {status}"
    except (TimeoutError, OSError, asyncio.IncompleteReadError) as error:
        return f"{path}: {type(error).__name__}"


def burst(
    port: int, kinds: tuple[str, ...], ids: list[int], seconds: float, seed: int
) -> Counter[str]:
    """Ask all at once; return how many were answered or refused within so many seconds, and not."""
    chance = random.Random(seed)

    async def ask() -> list[str]:
        asked = [
            answered(
                port,
                chance.choice(kinds).format(id=chance.choice(ids), any=chance.randint(1, 99)),
                seconds,
                part=chance.random() < 0.5,
                stays=chance.random() < 0.5,
            )
            for _ in range(AT_ONCE)
        ]
        return await asyncio.gather(*asked)

    return Counter(asyncio.run(ask()))


def test_a_burst_on_a_server_that_just_began(made: Path) -> None:
    ids = whole_clips(made)
    with started(made) as port:
        for seed in range(3):  # at first nothing is drawn
            found = burst(port, KINDS + ("/api/map",) * 8, ids, 40, seed)
            assert found == {"fine": AT_ONCE}, found


@pytest.mark.long
def test_bursts_with_all_that_is_slow(made: Path) -> None:
    ids = whole_clips(made)
    with started(made) as port:
        for seed in range(20):
            found = burst(port, (*KINDS, *SLOW, "/api/clips/{id}/text"), ids, 120, seed)
            assert set(found) <= {"fine", "refused"}, found
            assert found["fine"] > AT_ONCE / 2


def test_what_many_ask_for_is_made_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_of: Counter[str] = Counter()

    def counted(module: object, name: str) -> None:
        real = getattr(module, name)

        def make(*arguments: object) -> object:
            made_of[f"{name} {arguments[1:2]}"] += 1
            time.sleep(0.2)  # the others come meanwhile
            return real(*arguments)

        monkeypatch.setattr(module, name, make)

    counted(app_state, "project_library")
    counted(PreviewReader, "picture")
    counted(PreviewReader, "peaks")
    with serving(made) as server, ThreadPoolExecutor(30) as pool:
        clips = server.get("/api/clips").json["clips"]
        id = next(clip["id"] for clip in clips if clip["path"] == "red/a.mp4")
        paths = ["/api/map", f"/api/clips/{id}/thumbnail", f"/api/clips/{id}/waveform"]
        replies = list(pool.map(server.get, paths * 10))
    assert {reply.status for reply in replies} == {200}
    assert len(made_of) == 3 and set(made_of.values()) == {1}, made_of
