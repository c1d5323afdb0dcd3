"""The paper's comparison of features (its table I) on anyone's clips: every pair, the same rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from earsight.datasets import join
from earsight.discovery import parse_spec
from earsight.errors import InputError
from earsight.experiments.compare import Options, compare
from earsight.experiments.protocol import Protocol
from earsight.experiments.published import TABLE_1
from earsight.experiments.reproduce import TABLE_1_METHOD
from earsight.experiments.results import Result
from earsight.experiments.runs import Told
from earsight.features import PairedFeatures

Views = Mapping[str, Mapping[str, PairedFeatures]]
"""Modality → name of the features → the features, of that modality alone."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One pair of features by one method.

    Attributes:
        features: Names of the two.
        method: The method.
        result: What we found; None where the pair could not be run.
        published: MAP in both directions, in the paper's table I; None where it is not there.
    """

    features: tuple[str, str]
    method: str
    result: Result | None
    published: tuple[float, float] | None


def compare_by_features(
    name: str,
    views: Views,
    methods: Sequence[str],
    protocol: Protocol,
    *,
    options: Options | None = None,
    told: Told = lambda line: None,
    done: Callable[[Result, bool], None] = lambda result, kept: None,
) -> tuple[list[Pair], int]:
    """Run every pair of a sound and a sight, on the clips that all features have.

    So all pairs are learned on the same rows and asked by the same ones; what differs is the
    features alone. Pairs of the paper that could not be run stand at the end with its figures.

    Args:
        name: What the clips are called.
        views: Two modalities, each with at least one set of features, with `ids`.
        methods: As for `compare`.
        protocol: Folds and seeds.
        options: `json` is a folder, a file for each pair.
        told, done: As for `compare`.

    Returns:
        The pairs, and on how many rows.

    Raises:
        InputError: Nothing can be paired, no clip is in all, the clips have no labels, or `json`
            is a file.
    """
    options = options or Options()
    _check(name, views, options)
    shared = _shared(views)
    pairs = []
    (first, ones), (second, others) = shared.items()
    for one, other in product(ones, others):
        data = join({first: ones[one], second: others[other]}, f"{one} and {other}")
        file = None
        if options.json is not None:
            options.json.mkdir(parents=True, exist_ok=True)
            file = options.json / f"{_plain(one)}_{_plain(other)}.json"
        found = compare(
            *(data, methods, protocol),
            name=name,
            source=f"{name}: {one} / {other}",
            options=replace(options, json=file),
            told=told,
            done=done,
        )
        pairs += [_pair(one, other, result) for result in found.results]
    n_rows = len(next(iter(ones.values())).views[first])
    return pairs + _not_run(pairs), n_rows


def _check(name: str, views: Views, options: Options) -> None:
    """Refuse what cannot be compared, before anything is fitted."""
    if len(views) != 2 or not all(views.values()):
        got = ", ".join(f"{len(found)} of {modality}" for modality, found in views.items())
        raise InputError(f"A comparison of features needs some of both modalities; got {got}.")
    if options.json is not None and options.json.is_file():
        raise InputError(
            f"`json` must be a folder for a comparison of features, a file for each pair; got the "
            f"file {options.json}. Name a folder."
        )
    if any(data.labels is None for found in views.values() for data in found.values()):
        raise InputError(
            f"The clips of {name} must have labels, which features are compared by (MAP); they "
            "have none. Put the clips of each class into a folder of its own."
        )


def _shared(views: Views) -> dict[str, dict[str, PairedFeatures]]:
    """Keep the rows of the clips that all features have, in one order."""
    columns = [
        {str(x) for x in np.asarray(data.ids)}
        for found in views.values()
        for data in found.values()
    ]
    common = set.intersection(*columns)
    if not common:
        raise InputError("The features have no clip in common; extract them from one folder.")
    return {
        modality: {name: _of(data, common) for name, data in found.items()}
        for modality, found in views.items()
    }


def _of(data: PairedFeatures, names: set[str]) -> PairedFeatures:
    ids = np.asarray(data.ids).tolist()
    return data.take(
        np.array(sorted((i for i, x in enumerate(ids) if x in names), key=ids.__getitem__))
    )


def _pair(one: str, other: str, result: Result) -> Pair:
    # Another layer or other weights are not what the paper measured, whatever the network.
    own = parse_spec(result.method)[0] == TABLE_1_METHOD
    return Pair(
        features=(one, other),
        method=result.method,
        result=result,
        published=TABLE_1.get((one, other)) if own else None,
    )


def _not_run(pairs: Sequence[Pair]) -> list[Pair]:
    shown = {pair.features for pair in pairs if pair.published}
    rest = {key: values for key, values in TABLE_1.items() if key not in shown}
    return [
        Pair(features=key, method=TABLE_1_METHOD, result=None, published=values)
        for key, values in rest.items()
    ]


def _plain(spec: str) -> str:
    """Return a spec as a part of a file's name."""
    return "".join(c if c.isalnum() else "-" for c in spec)
