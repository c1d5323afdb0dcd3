"""Ranking and `evaluate`: ties, order, chance, and what cannot be had."""

import tracemalloc

import numpy as np
import pytest

import earsight
from earsight.errors import InputError, LabelError, NotAvailableError, UnknownPairError
from earsight.similarity import GRID, top


def embeddings(n: int = 80, k: int = 6, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Paired points in three unequal classes, float32 as from `transform`."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(["drum", "dog", "rain"], size=n, p=[0.5, 0.3, 0.2])
    centres = {name: rng.normal(size=k) for name in np.unique(labels)}
    shared = np.array([centres[label] for label in labels]) + rng.normal(size=(n, k))
    z = {name: shared + 0.7 * rng.normal(size=(n, k)) for name in ("audio", "visual")}
    return {name: x.astype(np.float32) for name, x in z.items()}, labels


def similarities(query: np.ndarray, gallery: np.ndarray) -> np.ndarray:
    """The obvious way: unit rows, product, rounded to the grid."""
    a, b = (x.astype(np.float64) for x in (query, gallery))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    return np.round(a @ b.T * GRID) / GRID


def test_every_figure_against_the_obvious_way() -> None:
    from sklearn.metrics import average_precision_score

    z, labels = embeddings()
    scores = earsight.evaluate(z, labels=labels, ks=[1, 7])
    assert list(scores) == [("audio", "visual"), ("visual", "audio")]
    for (query, gallery), found in scores.items():
        s = similarities(z[query], z[gallery])
        relevant = labels[:, None] == labels
        ap = np.array([average_precision_score(r, row) for r, row in zip(relevant, s, strict=True)])
        np.testing.assert_allclose(found.ap, ap, atol=1e-12)
        assert found.map == pytest.approx(ap.mean())
        assert found.per_class == pytest.approx(
            {name: ap[labels == name].mean() for name in ("dog", "drum", "rain")}
        )
        rank = 1 + (s > np.diag(s)[:, None]).sum(axis=1)
        np.testing.assert_array_equal(found.ranks, rank)
        assert found.median_rank == np.median(rank)
        assert found.mrr == pytest.approx((1 / rank).mean())
        order = np.argsort(-s, axis=1, kind="stable")
        for k in (1, 7):
            assert found.recall[k] == pytest.approx((rank <= k).mean())
            hits = relevant[np.arange(80)[:, None], order[:, :k]]
            assert found.precision[k] == pytest.approx(hits.mean())
            assert found.recall_chance[k] == k / 80
        assert found.curve.shape == (11,) and (np.diff(found.curve) <= 0).all()
        assert found.curve[-1] >= found.map_chance > 0.3


def test_chance_is_what_random_points_reach() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 40)
    directions = [
        earsight.evaluate({"a": rng.normal(size=(40, 3)), "b": rng.normal(size=(40, 3))}, labels)[
            "a", "b"
        ]
        for _ in range(150)
    ]
    means = np.mean([[d.map, d.recall[5]] for d in directions], axis=0)
    expected = [directions[0].map_chance, directions[0].recall_chance[5]]
    np.testing.assert_allclose(means, expected, atol=0.01)


def test_constant_points_score_exactly_chance_by_rank() -> None:
    flat = {"a": np.ones((20, 3)), "b": np.ones((20, 3))}
    found = earsight.evaluate(flat, labels=np.arange(20) % 2)["a", "b"]
    assert found.map == 0.5 and found.median_rank == 10.5
    assert dict(found.recall) == pytest.approx(dict(found.recall_chance))


@pytest.mark.parametrize("seed", range(5))
def test_a_permuted_gallery_changes_nothing_bit_for_bit(seed: int) -> None:
    z, labels = embeddings(n=301, k=24, seed=seed)
    z["visual"][100:200] = z["visual"][:100]  # duplicated clips: the matrix product's trap
    order = np.random.default_rng(seed).permutation(301)
    own = {"audio": labels, "visual": labels}
    plain = earsight.evaluate(z, labels=own)["audio", "visual"]
    shuffled = earsight.evaluate(
        {"audio": z["audio"], "visual": np.asfortranarray(z["visual"][order])},
        labels={"audio": labels, "visual": labels[order]},
    )["audio", "visual"]
    assert np.array_equal(plain.ap, shuffled.ap)
    assert np.array_equal(plain.curve, shuffled.curve)
    assert dict(plain.precision) == dict(shuffled.precision)


def test_similarities_at_a_rounding_border_do_not_depend_on_their_place() -> None:
    """Vectors whose cosine lies within 1e-16 of a border, among others, in many places."""
    border = (2**19 + 0.5) / GRID
    query = np.array([[1.0, 0, 0, 0, 0]])
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(2000, 5))
    rest = gallery[:, 1:] / np.linalg.norm(gallery[:, 1:], axis=1, keepdims=True)
    gallery = np.hstack([np.full((2000, 1), border), rest * np.sqrt(1 - border**2)])
    _, alone = top(query, gallery[:1], 1)
    for place in (1, 63, 500, 1999):
        moved = np.roll(gallery, place, axis=0)
        found, scores = top(query, moved, 2000)
        assert scores[0][found[0] == place] == alone[0]


def test_scale_and_zero_vectors() -> None:
    z, labels = embeddings(n=30)
    scale = 10.0 ** np.linspace(-200, 200, 30)[:, None]
    plain = earsight.evaluate(z, labels=labels)["audio", "visual"]
    scaled = {"audio": z["audio"] * scale, "visual": z["visual"] * scale[::-1]}
    np.testing.assert_allclose(
        earsight.evaluate(scaled, labels=labels)["audio", "visual"].ap, plain.ap, atol=1e-12
    )
    _, scores = top(np.zeros((1, 6)), z["visual"], 30)
    assert not scores.any()
    _, scores = top(z["visual"][:1], np.zeros((3, 6)), 3)
    assert not scores.any()


def test_a_query_with_no_relevant_item_scores_zero_and_is_counted() -> None:
    z = {"a": np.eye(3)[:2], "b": np.eye(3)}
    found = earsight.evaluate(z, labels={"a": [0, 9], "b": [0, 0, 1]})["a", "b"]
    assert found.ap.tolist() == [pytest.approx((1 + 2 / 3) / 2), 0.0]
    assert found.map == found.ap.sum() / 2
    assert found.per_class[9] == 0.0


def test_what_was_not_given_cannot_be_read() -> None:
    z, labels = embeddings(n=6)
    unlabelled = earsight.evaluate(z)["audio", "visual"]
    for figure in ("map", "map_chance", "ap", "precision", "per_class", "curve"):
        with pytest.raises(NotAvailableError, match=f"`{figure}` needs labels"):
            getattr(unlabelled, figure)
    assert unlabelled.recall[1] <= 1
    unpaired = earsight.evaluate(z, labels={"audio": labels, "visual": labels})["audio", "visual"]
    for figure in ("recall", "mrr", "median_rank", "ranks", "reciprocal_ranks", "recall_chance"):
        with pytest.raises(NotAvailableError, match=f"`{figure}` needs paired rows"):
            getattr(unpaired, figure)
    assert unpaired.map <= 1


def test_k_beyond_the_gallery_has_no_figure() -> None:
    z, labels = embeddings(n=6)
    found = earsight.evaluate(z, labels=labels)["audio", "visual"]
    assert list(found.recall) == list(found.precision) == [1, 5]
    for figure in (found.recall, found.precision, found.recall_chance):
        with pytest.raises(
            NotAvailableError, match="needs a gallery of at least 10 items; it has 6"
        ):
            figure[10]
        with pytest.raises(NotAvailableError, match="needs 3 among `ks`"):
            figure[3]
        assert 10 not in figure


def test_all_ordered_pairs_of_three_modalities() -> None:
    z, labels = embeddings(n=12)
    scores = earsight.evaluate(z | {"text": z["audio"]}, labels=labels)
    assert len(scores) == 6 and scores["audio", "text"].recall[1] == 1.0
    assert scores["text", "visual"].map == scores["audio", "visual"].map


def test_what_evaluate_refuses() -> None:
    z, labels = embeddings(n=8)
    short = z | {"visual": z["visual"][:5]}
    with pytest.raises(InputError, match="rows are paired unless `labels` is a mapping"):
        earsight.evaluate(short)
    with pytest.raises(InputError, match="of one width"):
        earsight.evaluate(z | {"visual": z["visual"][:, :3]})
    with pytest.raises(LabelError, match="for each of"):
        earsight.evaluate(short, labels={"audio": labels})
    with pytest.raises(LabelError, match="strings in all modalities or in none"):
        earsight.evaluate(short, labels={"audio": labels, "visual": np.zeros(5)})
    for wrong in (0, 2.5, True):
        with pytest.raises(InputError, match="`ks` must be whole numbers of at least 1"):
            earsight.evaluate(z, ks=[wrong])
    for none in (5, None):
        with pytest.raises(InputError, match=f"`ks` must be a list .* got {none}"):
            earsight.evaluate(z, ks=none)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="`embeddings` must be a mapping"):
        earsight.evaluate(z["audio"])
    with pytest.raises(InputError, match=r"`embeddings\['visual'\]` must be finite"):
        earsight.evaluate(z | {"visual": z["visual"] * np.nan})
    with pytest.raises(InputError, match="`embeddings` must hold 2 or more modalities"):
        earsight.evaluate({"audio": z["audio"]})


def test_ks_may_come_from_an_iterator() -> None:
    z, labels = embeddings(n=8)
    assert list(earsight.evaluate(z, labels, ks=iter([1, 3]))["audio", "visual"].recall) == [1, 3]


def test_a_pair_that_was_not_compared_lists_those_that_were() -> None:
    scores = earsight.evaluate(embeddings(n=8)[0])
    for wrong in (("audio", "zz"), "audio", ["audio", "visual"]):
        with pytest.raises(UnknownPairError) as caught:
            scores[wrong]  # type: ignore[index]
        known = "Known: ('audio', 'visual'), ('visual', 'audio')."
        assert str(caught.value) == f"There is no direction {wrong!r}. {known}"
        assert isinstance(caught.value, KeyError) and isinstance(caught.value, InputError)
        assert wrong not in scores and scores.get(wrong) is None  # type: ignore[call-overload]


def test_top_is_the_head_of_a_full_sort() -> None:
    z, _ = embeddings(n=200)
    gallery = np.vstack([z["visual"], z["visual"]])  # every item twice
    found, scores = top(z["audio"], gallery, 9)
    s = similarities(z["audio"], gallery)
    expected = np.argsort(-s, axis=1, kind="stable")
    np.testing.assert_array_equal(found, expected[:, :9])
    np.testing.assert_array_equal(scores, np.take_along_axis(s, found, axis=1))
    np.testing.assert_array_equal(top(z["audio"], gallery, 400)[0], expected)
    for wrong in (0, 401):
        with pytest.raises(InputError, match=f"from 1 to 400, the gallery's size; got {wrong}"):
            top(z["audio"], gallery, wrong)
    with pytest.raises(InputError, match="of one width; got 6 and 5"):
        top(z["audio"], gallery[:, :5], 1)


def test_memory_is_that_of_a_block() -> None:
    z, labels = embeddings(n=2500)
    tracemalloc.start()
    earsight.evaluate(z, labels=labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2500 * 2500 * 8 / 4  # a quarter of one matrix of similarities
