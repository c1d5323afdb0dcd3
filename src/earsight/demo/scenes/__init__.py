"""The kinds of scene, a file each; the file's name is the class. Ten of them."""

import importlib
import pkgutil
import zlib

import numpy as np

from earsight.demo.scene import Scene

LABELS = tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def generator(label: str, seed: int, index: int, part: int) -> np.random.Generator:
    """Return the randomness of one `part` of one clip, which no other clip has any share in."""
    return np.random.default_rng([seed, zlib.crc32(label.encode()), index, part])


def compose(label: str, seed: int, index: int) -> Scene:
    """Return clip number `index` of a class, the same for the same three arguments."""
    module = importlib.import_module(f"earsight.demo.scenes.{label}")
    scene: Scene = module.compose(generator(label, seed, index, 0))
    return scene
