"""Clips that Earsight draws and sounds itself, for a first run without any data.

Ten classes in which what is seen causes what is heard. Every clip is made from (seed, class,
number) alone, so any one can be made again, and the moments of its events are known exactly.
"""

from earsight.demo.folder import DrawnClip, draw

__all__ = ["DrawnClip", "draw"]
