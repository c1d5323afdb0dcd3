"""Class names of the pretrained networks, as package data (sources and licences: NOTICE)."""

import csv
from functools import cache
from importlib.resources import files


@cache
def audioset_names() -> tuple[str, ...]:
    """Return the 521 AudioSet classes that YAMNet scores, in the order of its outputs.

    >>> len(audioset_names()), audioset_names()[:2]
    (521, ('Speech', 'Child speech, kid speaking'))
    """
    text = files(__name__).joinpath("audioset_521.csv").read_text(encoding="utf-8")
    return tuple(row["display_name"] for row in csv.DictReader(text.splitlines()))


@cache
def imagenet_names() -> tuple[str, ...]:
    """Return the 1000 ImageNet classes in the order of a network's outputs.

    A class is one string; its synonyms are separated by commas.

    >>> len(imagenet_names()), imagenet_names()[0]
    (1000, 'tench, Tinca tinca')
    """
    text = files(__name__).joinpath("imagenet_1000.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
