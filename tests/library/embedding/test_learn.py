"""What answers: a learned embedding joins the bridge only where held-out clips say so."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from _plain import DIM, Plain
from earsight.errors import TrainingError
from earsight.library.embedding.cross_validation import Scores, _fits_in_processes
from earsight.library.embedding.joint_space import JointSpace
from earsight.library.embedding.model_selection import choose_model, compare, trainable_rows
from earsight.library.embedding.training_rows import NO_LABEL, PairedRows
from earsight.methods.zero_shot import ZeroShot


def drawn(
    n: int, classes: int, *, features: str, seed: int = 0, labelled: bool = True
) -> PairedRows:
    """Clips whose bridge knows a little; their features know the class, the pair, or nothing."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    hint = rng.normal(size=(classes, DIM))[y]
    code = {"class": np.eye(classes)[y], "pair": rng.normal(size=(n, 4)), "noise": np.zeros((n, 4))}

    def noisy(signal: Any, level: float) -> Any:
        return (signal + level * rng.normal(size=signal.shape)).astype(np.float32)

    def seen(signal: Any) -> Any:
        """The signal among other things, seen by this modality alone."""
        return noisy(np.hstack([8 * signal, np.zeros((n, 12))]), 1.0)

    labels = y.astype(str) if labelled else np.full(n, NO_LABEL)
    vectors = {
        "words.audio": noisy(hint, 2.0),
        "words.visual": noisy(hint, 2.0),
        "audio": seen(code[features]),
        "visual": seen(code[features]),
    }
    return PairedRows(np.array([f"clip{i}" for i in range(n)]), labels, vectors)


def test_features_that_know_the_class_join() -> None:
    decision, learned = choose_model(drawn(80, 4, features="class"), "cluster_cca", Plain())
    assert learned is not None and decision.answers == "words + cluster_cca"
    assert decision.figures["map_joined"] > decision.figures["map_words"]
    assert decision.figures["p_map_better"] < 0.05


def test_features_that_know_nothing_do_not() -> None:
    decision, learned = choose_model(drawn(80, 4, features="noise"), "cca", Plain())
    assert learned is None and decision.answers == "words"
    assert "does not help" in decision.why and decision.figures["clips"] == 80


def test_without_labels_the_own_half_alone_counts() -> None:
    rows = drawn(80, 4, features="pair", labelled=False)
    decision, learned = choose_model(rows, "auto", Plain())
    assert learned is not None and "map_words" not in decision.figures
    assert decision.answers == "words + cca"


@pytest.mark.parametrize(
    ("n", "classes", "why"),
    [
        (49, 4, "learning needs 50 clips with sound and sight; here: 49"),
        (60, 20, "Nothing is learned: a class needs 5 clips"),
        (40, 20, "sight; here: 40; and a class needs 5 clips"),
    ],
)
def test_too_little_to_learn_from(n: int, classes: int, why: str) -> None:
    decision, learned = choose_model(drawn(n, classes, features="class"), "cluster_cca", Plain())
    assert learned is None and why in decision.why and decision.figures == {}


def test_small_classes_are_not_learned_from() -> None:
    rows = drawn(80, 4, features="class")
    rows.labels[:4] = "rare"
    usable = trainable_rows(rows)
    assert usable.mask is not None and usable.mask.sum() == 76 and not usable.mask[:4].any()
    assert usable.note.startswith("4 clips of small classes")
    rows = drawn(52, 4, features="class")
    rows.labels[:4] = "rare"
    assert "in classes of at least 5; here: 48" in trainable_rows(rows).note


def test_windows_of_one_clip_are_one_clip() -> None:
    rows = drawn(120, 4, features="class")
    few = PairedRows(np.array([f"clip{i // 3}" for i in range(120)]), rows.labels, rows.vectors)
    usable = trainable_rows(PairedRows(few.clips, np.full(120, NO_LABEL), few.vectors))
    assert usable.mask is None and "here: 40" in usable.note
    assert few.one_per_clip().clips.tolist() == [f"clip{i}" for i in range(40)]
    np.testing.assert_array_equal(few.one_per_clip().vectors["audio"], few.vectors["audio"][1::3])


def scores(ap: float, rr: float, n: int = 100) -> Scores:
    noise = np.random.default_rng(0).normal(0, 0.01, size=n)
    return Scores(ap + noise, rr + noise[::-1])


@pytest.mark.parametrize(
    ("joined", "joins"),
    [
        (scores(0.6, 0.5), True),  # better in one, equal in the other
        (scores(0.5, 0.6), True),
        (scores(0.5, 0.5), False),  # equal
        (scores(0.6, 0.4), False),  # buys one with the other
        (scores(0.4, 0.6), False),
    ],
)
def test_one_must_be_better_and_none_worse(joined: Scores, joins: bool) -> None:
    assert compare(scores(0.5, 0.5), joined)[1] is joins


def test_a_training_fold_is_treated_as_the_library_is() -> None:
    rows = drawn(60, 4, features="class").take(np.arange(48))
    assert trainable_rows(rows).mask is None
    assert trainable_rows(rows, share=0.8).mask is not None


def test_a_method_that_cannot_learn_leaves_the_bridge() -> None:
    rows = drawn(80, 4, features="pair", labelled=False)
    decision, learned = choose_model(rows, "cluster_cca", Plain())
    assert learned is None and decision.answers == "words"
    assert "cluster_cca cannot learn from these clips" in decision.why


def test_side_by_side_is_the_mean_of_both_cosines() -> None:
    rows = drawn(80, 4, features="class")
    _, learned = choose_model(rows, "cluster_cca", Plain())
    bridge = ZeroShot(prior=Plain().priors()).fit({"audio": rows.vectors["words.audio"]})
    both, alone = JointSpace(bridge, learned, 0.5), JointSpace(bridge)
    assert learned is not None

    def unit(x: Any) -> Any:
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    joint = both.embed("audio", rows.vectors) @ both.embed("visual", rows.vectors).T
    words = alone.embed("audio", rows.vectors) @ alone.embed("visual", rows.vectors).T
    e = {m: unit(learned.transform(m, rows.vectors[m])) for m in ("audio", "visual")}
    np.testing.assert_allclose(joint, (words + e["audio"] @ e["visual"].T) / 2, atol=1e-5)
    # Typed words have the bridge's part alone, and rank and score as by the bridge alone.
    text = {"words.text": rows.vectors["words.audio"][:3]}
    by_words = (
        both.embed("text", text)
        @ both.embed("visual", rows.vectors).T
        / both.scale("text", "visual")
    )
    expected = alone.embed("text", text) @ alone.embed("visual", rows.vectors).T
    np.testing.assert_allclose(by_words, expected, atol=1e-5)


def test_a_space_is_saved_whole() -> None:
    rows = drawn(80, 4, features="class")
    _, learned = choose_model(rows, "cluster_cca", Plain())
    bridge = ZeroShot(prior=Plain().priors()).fit({"audio": rows.vectors["words.audio"]})
    space = JointSpace(bridge, learned, 0.5)
    again = JointSpace.load(space.files(), "here")
    assert again.name == space.name == "words + cluster_cca"
    for modality in ("audio", "visual"):
        np.testing.assert_array_equal(
            again.embed(modality, rows.vectors), space.embed(modality, rows.vectors)
        )


def test_a_training_that_diverges_leaves_the_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: object) -> None:
        raise TrainingError("The loss is NaN.")

    monkeypatch.setattr("earsight.library.embedding.cross_validation.fit_learned", diverge)
    decision, learned = choose_model(drawn(80, 4, features="class"), "s_dcca", Plain())
    assert learned is None and decision.why.endswith("The loss is NaN.")


@pytest.mark.parametrize("method", ["cluster_cca", pytest.param("auto", marks=pytest.mark.long)])
def test_side_by_side_is_one_after_another(method: str) -> None:
    rows = drawn(404, 4, features="class")
    once, twice = (choose_model(rows, method, Plain(), workers=workers) for workers in (1, 2))
    assert once[0] == twice[0] and once[1] is not None and twice[1] is not None
    for modality in ("audio", "visual"):
        x = rows.vectors[modality]
        np.testing.assert_array_equal(
            once[1].transform(modality, x), twice[1].transform(modality, x)
        )


@pytest.mark.parametrize(("method", "apart"), [("auto", True), ("concord", True), ("tnn", False)])
def test_networks_are_not_fitted_side_by_side(method: str, apart: bool) -> None:
    assert _fits_in_processes(method) == apart


def test_what_goes_wrong_in_a_process_is_told() -> None:
    rows = drawn(404, 4, features="class")
    decision, learned = choose_model(rows, "cca:n_components=400", Plain(), workers=2)
    assert learned is None and "cca cannot learn from these clips: `n_components`" in decision.why


@pytest.mark.skipif(os.cpu_count() == 1, reason="one core has one thread anyway")
def test_few_rows_are_learned_from_on_one_thread_also_by_what_is_loaded_later() -> None:
    code = (
        "import numpy, threadpoolctl\n"
        "from earsight.library.embedding.cross_validation import _threads_for\n"
        "with _threads_for(400):\n"
        "    import scipy.linalg\n"
        "    print({one['num_threads'] for one in threadpoolctl.threadpool_info()})\n"
    )
    env = os.environ | {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert told.stdout.strip() == "{1}", told.stderr
