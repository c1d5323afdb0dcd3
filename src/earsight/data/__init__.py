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


@cache
def kinetics_names() -> tuple[str, ...]:
    """Return the 400 actions of Kinetics-400 in the order of I3D's outputs.

    >>> len(kinetics_names()), kinetics_names()[0]
    (400, 'abseiling')
    """
    text = files(__name__).joinpath("kinetics_400.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


@cache
def places_names() -> tuple[str, ...]:
    """Return the 401 Places scenes that SoundNet scores, in the order of its outputs.

    >>> len(places_names()), places_names()[9]
    (401, 'apartment_building/outdoor')
    """
    text = files(__name__).joinpath("places_401.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
