"""Compare methods on the same folds: fit, score, test, keep."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earsight import discovery, extras
from earsight.errors import EarsightError, InputError
from earsight.experiments.official import append_look, begin_log
from earsight.experiments.protocol import Protocol
from earsight.experiments.provenance import checksum, steps_checksum
from earsight.experiments.results import Result, ResultFile, about, base_digest, summarise
from earsight.experiments.runs import Run, Told, new_model, reads_steps, runs
from earsight.experiments.significance import hold_against, reference_of
from earsight.experiments.trec import TrecWriter
from earsight.features import PairedFeatures

# No part of "all": one is another name, the other needs rows of one space.
_LEFT_OUT = ("auto", "zero_shot")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a comparison is to do besides the table.

    Attributes:
        json: Keep the records here, and take from here what is done.
        again: Fit also what is done.
        trec: Write run files and qrels into this folder.
        log: Where looks at an official test are noted.
        sizes: Numbers of components to fit each method with, one seed.
        against: The method that others are tested against; None: the best.
    """

    json: Path | None = None
    again: bool = False
    trec: Path | None = None
    log: Path | None = None
    sizes: tuple[int, ...] = ()
    against: str | None = None


@dataclass(kw_only=True)
class Comparison:
    """What was found.

    Attributes:
        name: Of the data, such as "wikipedia".
        source: The data as it was asked for.
        protocol: How.
        results: One a method, in the order asked for.
        reference: The spec the others were tested against.
        kept: The specs that had been done before.
        sizes: The output sizes asked for.
    """

    name: str
    source: str
    protocol: Protocol
    results: list[Result] = field(default_factory=list)
    reference: str | None = None
    kept: list[str] = field(default_factory=list)
    sizes: tuple[int, ...] = ()

    @property
    def failed(self) -> list[Result]:
        """The methods without a figure."""
        return [result for result in self.results if result.error is not None]

    def ranked(self) -> list[Result]:
        """Return the results, best first, failures last."""
        return sorted(self.results, key=lambda result: -result.score)


def split_list(listed: str) -> list[str]:
    """Split a list of kinds, each with its hyper-parameters.

    A part without a name of its own ("ridge=0.1") belongs to the kind before it.

    >>> split_list("cca:n_components=5,ridge=0.1,cluster_cca")
    ['cca:n_components=5,ridge=0.1', 'cluster_cca']
    """
    specs: list[str] = []
    for part in filter(None, (part.strip() for part in listed.split(","))):
        if specs and "=" in part.partition(":")[0]:
            specs[-1] += f",{part}"
        else:
            specs.append(part)
    return list(dict.fromkeys(specs))


def split_specs(methods: str | None) -> list[str]:
    """Split a list of methods; "all" are those that can be fitted here.

    None: all but those that are there `for_comparison_only`, to be asked for by name or by "all".
    """
    lacking = [name for names in lacking_methods().values() for name in names]
    left_out = {*_LEFT_OUT, *lacking}
    every = [name for name in discovery.names("methods") if name not in left_out]
    if methods is None:
        kinds = {name: discovery.load("methods", name) for name in every}
        return [name for name, kind in kinds.items() if not kind.for_comparison_only]
    given = split_list(methods)
    return list(dict.fromkeys(x for spec in given for x in (every if spec == "all" else [spec])))


def lacking_methods() -> dict[str, list[str]]:
    """Return the methods of "all" that cannot be fitted here, by the extra that they need."""
    lacking: dict[str, list[str]] = {}
    for name in discovery.names("methods"):
        extra = getattr(discovery.load("methods", name), "extra", None)
        if extra is not None and name not in _LEFT_OUT and not extras.is_here(extra):
            lacking.setdefault(extra, []).append(name)
    return lacking


def compare(
    data: PairedFeatures,
    methods: Sequence[str],
    protocol: Protocol,
    *,
    name: str = "data",
    source: str = "",
    options: Options | None = None,
    told: Told = lambda line: None,
    done: Callable[[Result, bool], None] = lambda result, kept: None,
) -> Comparison:
    """Fit every method on the same folds, score it on what was held out, and test the difference.

    A method that fails stands in the results with its message; the others go on.

    Args:
        data: Rows with labels, or pairs without.
        methods: Specs such as "cca" or "tnn:margin=0.3".
        protocol: Folds and seeds.
        name, source: What the data are called, and how they were asked for.
        options: Files to keep, and more to find out.
        told: Is told of every fit.
        done: Is called with each result, and whether it was there before.

    Raises:
        InputError: No method, a method that is not there, folds that cannot be, or a file of
            results that belongs to another comparison.
    """
    options = options or Options()
    settings = _checked(data, methods, protocol, options)
    sha256, facts = checksum(data), protocol.facts()
    n_rows = {modality: len(x) for modality, x in data.views.items()}
    base = base_digest(sha256, facts)
    file = ResultFile(options.json, base, again=options.again) if options.json else None
    comparison = Comparison(name=name, source=source, protocol=protocol, sizes=options.sizes)
    for spec, hyperparameters in settings.items():
        found = None if options.again or not file else file.find(spec, hyperparameters, n_rows)
        if found is not None and not _lacks(found, options):
            comparison.kept.append(spec)
        else:
            origin = about(name, source, sha256, facts)
            found = Result(method=spec, base=base, hyperparameters=hyperparameters, about=origin)
            _fill(found, data, comparison, options=options, told=told)
            if file:
                file.keep(found)
        comparison.results.append(found)
        done(found, spec in comparison.kept)
    reference = reference_of(comparison.results, options.against)
    if reference is not None:
        comparison.reference = reference.method
        hold_against(comparison.results, reference, data)
        for result in comparison.results if file else ():
            file.keep(result)  # type: ignore[union-attr]
    return comparison


def _checked(
    data: PairedFeatures, methods: Sequence[str], protocol: Protocol, options: Options
) -> dict[str, dict[str, Any]]:
    """Return spec → hyper-parameters; refuse what cannot be before anything is fitted."""
    if not methods:
        raise InputError("A comparison needs at least one method; got none.")
    settings = {spec: _hyperparameters(spec, data) for spec in methods}
    if options.against is not None and options.against not in settings:
        raise InputError(
            f"`against` must be one of the methods compared, {', '.join(settings)}; "
            f"got {options.against!r}."
        )
    if any("->" in name for name in data.views):
        raise InputError(f"A modality's name must not hold '->'; got {list(data.views)}.")
    if protocol.official_test:
        begin_log(options.log)
    protocol.cut(data)
    return settings


def _hyperparameters(spec: str, data: PairedFeatures) -> dict[str, Any]:
    """Return what tells one fit of a method from another, the sequences included if it reads them.

    The means, which all methods read, are in the digest of the comparison.
    """
    model = new_model(spec)
    own = model.saved_params()
    own.pop("seed", None)
    return own | {"steps_sha256": steps_checksum(data)} if reads_steps(model) else own


def _lacks(found: Result, options: Options) -> bool:
    """Whether something is asked for that a kept result does not have."""
    sizes = {str(size) for size in options.sizes}
    no_sizes = bool(sizes - set(found.sizes)) and _has_size(found.method)
    return no_sizes or (
        options.trec is not None and not TrecWriter.has(options.trec, found.method, found.base)
    )


def _fill(
    result: Result,
    data: PairedFeatures,
    comparison: Comparison,
    *,
    options: Options,
    told: Told,
) -> None:
    """Run one method; what goes wrong becomes its error."""
    protocol = comparison.protocol
    n_rows = {modality: len(x) for modality, x in data.views.items()}
    try:
        writer = TrecWriter(options.trec, result.method, result.base) if options.trec else None

        def watched(run: Run) -> Run:
            if writer:
                writer.add(run)
            return run

        found = summarise(
            map(watched, runs(data, result.method, protocol, told)), n_rows, protocol.seeds
        )
        if writer:
            writer.finish()
        for name, value in found.items():
            setattr(result, name, value)
        if options.sizes and _has_size(result.method):
            result.sizes = _sweep(data, result.method, comparison, told)
    except Exception as error:  # whatever one method does must not lose the others
        result.error = _worded(error)
    finally:  # a look that is broken off was one, too
        if protocol.official_test and options.log:
            append_look(options.log, result)


def _worded(error: Exception) -> str:
    return str(error) if isinstance(error, EarsightError) else f"{type(error).__name__}: {error}"


def _has_size(spec: str) -> bool:
    kind = discovery.load("methods", discovery.parse_spec(spec)[0])
    return "n_components" in {each.name for each in dataclasses.fields(kind) if each.init}


def _sweep(
    data: PairedFeatures, spec: str, comparison: Comparison, told: Told
) -> dict[str, dict[str, Any]]:
    """Return MAP (or without labels MRR) by output size; a size beyond the rank has its error."""
    one_seed = dataclasses.replace(comparison.protocol, seeds=1)
    name, parameters = discovery.parse_spec(spec)
    swept: dict[str, dict[str, Any]] = {}
    n_rows = {modality: len(x) for modality, x in data.views.items()}
    for size in comparison.sizes:
        own = parameters | {"n_components": str(size)}
        sized = f"{name}:{','.join(f'{key}={value}' for key, value in own.items())}"
        try:
            found = summarise(runs(data, sized, one_seed, told), n_rows, 1)["directions"]
            figure = "map" if data.labels is not None else "mrr"
            swept[str(size)] = {direction: one[figure] for direction, one in found.items()}
        except EarsightError as error:
            swept[str(size)] = {"error": str(error)}
    return swept
