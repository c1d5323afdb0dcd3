"""Decoding with PyAV: mono sound at any rate, frames at any rate, a status for every clip.

A file is opened once and read once, as a stream; what is in memory is a block, never the clip.
Media are self-contained files on this machine: whatever would make a decoder read another file
(playlists, indirections, external tracks) is refused by name.
"""

from earsight.media._decoder import Decoder, kind
from earsight.media._remux import shift_sound
from earsight.media._source import MEDIA_SUFFIXES
from earsight.media._still import still
from earsight.media._types import AudioBlock, FrameBlock, FrameRequest, Report, Status

__all__ = [
    "MEDIA_SUFFIXES",
    "AudioBlock",
    "Decoder",
    "FrameBlock",
    "FrameRequest",
    "Report",
    "Status",
    "kind",
    "shift_sound",
    "still",
]
