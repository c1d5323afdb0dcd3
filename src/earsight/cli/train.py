"""`earsight train`: fit one method and keep the model."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earsight.cli._show import clock, out, say, show, table
from earsight.cli.compare import Sparingly, opened
from earsight.cli.extract import Address, Engine, check_engine
from earsight.cli.library import Json

if TYPE_CHECKING:
    from earsight.experiments.train import Trained


def train(
    source: Annotated[
        str,
        typer.Argument(
            help="The features to learn from, as for `compare`, or a pattern: 'parts/*.h5'."
        ),
    ],
    model: Annotated[Path, typer.Argument(help="The folder to keep the model in; it must be new.")],
    *,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help="The method, such as concord, cca:n_components=5, or tnn:pooling=gru, which reads "
            "sequences.",
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="The seed of all random numbers.")] = 0,
    score: Annotated[
        str | None, typer.Option(help="Evaluate the model on other features, such as a file.")
    ] = None,
    engine: Engine = "local",
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Fit a method to features and keep the model; earsight.load_model("MODEL") reads it.

    Rows that a data set keeps for testing are not used. The files of a pattern count as one data
    set. They are read in parts, never all at once; methods with a closed form, such as cca, can do
    that. torchrun -m earsight train … divides the work of a deep method among several processes.
    """
    from earsight.experiments import train
    from earsight.methods import launched

    check_engine(engine, address)
    rank, ranks = launched()
    if ranks > 1 and (Path(source).is_dir() or address is not None or "*" in source):
        raise typer.BadParameter("torchrun takes one feature file, or the name of a data set.")
    other = opened(score).data if score is not None else None
    if address is not None or "*" in source:
        from earsight.experiments.partitions import matching, train_files

        files = matching(source)
        done = train_files(files, method, model, address=address, seed=seed, score=other)
    else:
        done = train.train(
            opened(source).data, method, model, seed=seed, score=other, told=Sparingly()
        )
    if rank > 0:
        return  # the first one tells
    if as_json:
        out(json.dumps(asdict(done), default=str))
    else:
        _show_scores(done)
    rows = " and ".join(f"{n} {modality}" for modality, n in done.n_rows.items())
    say(
        f"{done.method}: fitted to {rows} rows in {clock(done.seconds)}, "
        f"{done.n_components} components, kept in {done.folder}."
    )


def _show_scores(done: "Trained") -> None:
    if not done.scores:
        return
    directions = list(done.scores)
    made = table("", *(direction.replace("->", " → ") for direction in directions))
    for name in done.scores[directions[0]]:
        made.add_row(name, *(f"{done.scores[direction][name]:.3f}" for direction in directions))
    show(made)
