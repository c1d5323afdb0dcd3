"""The ten real clips of shared/data, and the mark of tests that need them."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"
CLIPS = sorted((SHARED / "clips").glob("*/*.mp4"))
clips_needed = pytest.mark.skipif(
    not CLIPS, reason="The ten real clips of shared/data are not here"
)
