"""Earsight: find video by sound, and sound by video."""

__version__ = "0.1.0"
