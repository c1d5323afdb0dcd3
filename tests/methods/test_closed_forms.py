"""The closed forms against oracles and identities, and what any method takes as rows and labels."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io

import earsight
from _related import CLOSED_FORMS, assert_same_model, related
from earsight.errors import InputError, LabelError, UnknownNameError

WIKIPEDIA = Path(__file__).parents[3] / "shared" / "data" / "wikipedia"


def explicit_pairs(
    views: dict[str, np.ndarray], labels: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Every row of a class beside every row of that class: what Cluster-CCA never builds."""
    pairs = np.argwhere(labels["audio"][:, None] == labels["visual"])
    return {"audio": views["audio"][pairs[:, 0]], "visual": views["visual"][pairs[:, 1]]}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(3))
def test_cca_without_a_ridge_is_that_of_cca_zoo(seed: int) -> None:
    from cca_zoo.linear import CCA

    views, _ = related(seed=seed)
    ours = earsight.method("cca", n_components=4, ridge=0, weighting="none").fit(views)
    theirs = CCA(n_components=4).fit(list(views.values()))
    z = theirs.transform(list(views.values()))
    rho = [np.corrcoef(z[0][:, i], z[1][:, i])[0, 1] for i in range(4)]
    np.testing.assert_allclose(ours.correlations_, rho, atol=1e-10)
    for (modality, x), their in zip(views.items(), z, strict=True):
        for ours_column, theirs_column in zip(ours.transform(modality, x).T, their.T, strict=True):
            assert abs(np.corrcoef(ours_column, theirs_column)[0, 1]) > 1 - 1e-6


def test_weighting_multiplies_each_sides_columns_by_rho() -> None:
    views, _ = related()
    weighted = earsight.method("cca").fit(views)
    plain = earsight.method("cca", weighting="none").fit(views)
    for modality, x in views.items():
        expected = plain.transform(modality, x) * plain.correlations_
        np.testing.assert_allclose(weighted.transform(modality, x), expected, rtol=1e-5)


@pytest.mark.parametrize("standardize", [True, False])
def test_a_number_as_ridge_adds_that_share_of_the_mean_variance(standardize: bool) -> None:
    views, _ = related()
    x, y = (v - v.mean(axis=0) for v in views.values())
    if standardize:
        x, y = x / x.std(axis=0), y / y.std(axis=0)
    xx, yy, xy = (a.T @ b / len(x) for a, b in ((x, x), (y, y), (x, y)))
    xx += 0.3 * np.trace(xx) / 7 * np.eye(7)
    yy += 0.3 * np.trace(yy) / 5 * np.eye(5)
    squares = np.linalg.eigvals(np.linalg.solve(yy, xy.T) @ np.linalg.solve(xx, xy))
    model = earsight.method("cca", ridge=0.3, standardize=standardize).fit(views)
    np.testing.assert_allclose(model.correlations_**2, np.sort(squares.real)[::-1], atol=1e-12)


@pytest.mark.parametrize("name", ["cca", "cluster_cca"])
def test_a_duplicated_column_changes_nothing(name: str) -> None:
    views, labels = related()
    wide = views | {"audio": np.hstack([views["audio"], views["audio"][:, 2:3]])}
    model = earsight.method(name, ridge=0).fit(views, labels=labels)
    doubled = earsight.method(name, ridge=0).fit(wide, labels=labels)
    np.testing.assert_allclose(doubled.correlations_, model.correlations_, atol=1e-8)
    a, b = model.transform("audio", views["audio"]), doubled.transform("audio", wide["audio"])
    np.testing.assert_allclose(a, b, atol=1e-6)  # transform is float32


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("standardize", [True, False])
def test_a_column_that_does_not_vary_changes_nothing(name, dtype, standardize) -> None:
    views, labels = related()
    views = {modality: x.astype(dtype) for modality, x in views.items()}
    constant = np.full((len(labels), 1), 1e4 / 3, dtype=dtype)
    wide = views | {"visual": np.hstack([constant, views["visual"]])}
    method = {"standardize": standardize}
    model = earsight.method(name, **method).fit(views, labels=labels)
    padded = earsight.method(name, **method).fit(wide, labels=labels)
    assert not padded.weights_["visual"][0].any()
    atol = 1e-6 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(padded.weights_["visual"][1:], model.weights_["visual"], atol=atol)
    assert padded.ridge_ == pytest.approx(model.ridge_, rel=1e-5)


def test_cluster_cca_is_cca_on_explicit_pairs() -> None:
    views, labels = related(n=60)
    views["visual"], own = views["visual"][:45], {"audio": labels, "visual": labels[:45]}
    pairs = explicit_pairs(views, own)
    for ridge in (0, 0.1):
        ours = earsight.method("cluster_cca", n_components=3, ridge=ridge).fit(views, labels=own)
        assert_same_model(ours, earsight.method("cca", n_components=3, ridge=ridge).fit(pairs))


def test_cluster_cca_with_one_clip_per_class_is_cca() -> None:
    views, _ = related(n=40)
    ours = earsight.method("cluster_cca").fit(views, labels=np.arange(40))
    assert_same_model(ours, earsight.method("cca").fit(views))


def test_mean_cca_is_cca_on_the_class_means() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(30), 3)
    views = {"audio": rng.normal(size=(90, 4)), "visual": rng.normal(size=(90, 3))}
    means = {name: x.reshape(30, 3, -1).mean(axis=1) for name, x in views.items()}
    order = rng.permutation(90)
    mixed = {name: x[order] for name, x in views.items()}
    ours = earsight.method("mean_cca").fit(mixed, labels=labels[order])
    assert_same_model(ours, earsight.method("cca").fit(means))


def test_groups_are_the_independent_units_of_the_shrinkage() -> None:
    views, labels = related(n=40)
    seconds = {modality: np.repeat(x, 10, axis=0) for modality, x in views.items()}
    clips = np.repeat(np.arange(40), 10)
    for name in ("cca", "cluster_cca"):
        by_clip = earsight.method(name).fit(views, labels=labels)
        args = {"labels": np.repeat(labels, 10)}
        by_second = earsight.method(name).fit(seconds, **args)
        grouped = earsight.method(name).fit(seconds, **args, groups=clips)
        assert_same_model(grouped, by_clip, atol=1e-9)
        assert by_second.ridge_["audio"] < 0.2 * by_clip.ridge_["audio"]


def test_shrinkage_keeps_correlations_of_noise_small() -> None:
    rng = np.random.default_rng(0)
    noise = {"audio": rng.normal(size=(60, 50)), "visual": rng.normal(size=(60, 40))}
    assert earsight.method("cca", ridge=0).fit(noise).correlations_[0] > 0.999
    assert earsight.method("cca").fit(noise).correlations_[0] < 0.2


@pytest.mark.parametrize(
    ("name", "rank", "of"),
    [
        ("cca", 5, "150 rows of 7 and 5 features"),
        ("cluster_cca", 3, "4 classes"),
        ("mean_cca", 3, "4 classes"),
    ],
)
def test_components_beyond_the_rank_are_refused_and_the_rank_is_named(name, rank, of) -> None:
    views, labels = related()
    assert earsight.method(name).fit(views, labels=labels).n_components_ == rank
    wanted = f"must be at most {rank}, the rank of {name} on {of}; got {rank + 1}"
    with pytest.raises(InputError, match=wanted):
        earsight.method(name, n_components=rank + 1).fit(views, labels=labels)


def test_views_that_cannot_be_learned_from_are_refused() -> None:
    views, labels = related(n=20)
    with pytest.raises(InputError, match="needs views that vary together"):
        earsight.method("cca").fit({"audio": views["audio"], "visual": np.ones((20, 3))})
    with pytest.raises(InputError, match="needs views that vary together"):
        earsight.method("cca").fit({name: x[:1] for name, x in views.items()})
    with pytest.raises(LabelError, match="at least two classes"):
        earsight.method("cluster_cca").fit(views, labels=np.zeros(20))
    lacking = {"audio": labels, "visual": np.where(labels == 3, 2, labels)}
    with pytest.raises(LabelError, match="'visual' has no row of 3"):
        earsight.method("cluster_cca").fit(views, labels=lacking)
    with pytest.raises(LabelError, match="strings in all modalities or in none"):
        earsight.method("cluster_cca").fit(
            views, labels={"audio": labels, "visual": labels.astype(str)}
        )


@pytest.mark.parametrize("name", CLOSED_FORMS[:2])
def test_rows_too_large_for_their_precision_are_refused(name: str) -> None:
    views, labels = related(n=40)
    huge = {modality: (x * 1e25).astype(np.float32) for modality, x in views.items()}
    with pytest.raises(InputError, match="squared in float32; their products overflow"):
        earsight.method(name).fit(huge, labels=labels)
    wide = {modality: x.astype(np.float64) for modality, x in huge.items()}
    found = earsight.method(name).fit(wide, labels=labels).correlations_
    expected = earsight.method(name).fit(views, labels=labels).correlations_
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"ridge": -0.1}, "`ridge` must be a number of at least 0"),
        ({"ridge": float("nan")}, "`ridge`"),
        ({"weighting": "rho"}, "`weighting` must be one of 'correlation', 'none'; got 'rho'"),
        ({"standardize": 2}, "`standardize`"),
        ({"n_components": True}, "`n_components` must be a whole number of at least 1; got True"),
    ],
)
def test_hyperparameters_are_checked_on_the_class_too(parameters, message) -> None:
    from earsight.methods.cca import CCA

    with pytest.raises(InputError, match=message):
        CCA(**parameters)


@pytest.mark.skipif(not WIKIPEDIA.exists(), reason="needs the shared Wikipedia features")
def test_the_published_figures_on_wikipedia() -> None:
    data = scipy.io.loadmat(WIKIPEDIA / "raw_features.mat")
    labels = np.loadtxt(WIKIPEDIA / "test_labels.txt", dtype=int)
    model = earsight.method(
        "cca", n_components=5, ridge=1e-9, standardize=False, weighting="none"
    ).fit({"image": data["I_tr"], "text": data["T_tr"]})
    scores = earsight.evaluate(
        {
            "image": model.transform("image", data["I_te"]),
            "text": model.transform("text", data["T_te"]),
        },
        labels=labels,
    )
    assert scores["image", "text"].map == pytest.approx(0.245, abs=0.002)
    assert scores["text", "image"].map == pytest.approx(0.193, abs=0.002)
    assert scores["image", "text"].map_chance == pytest.approx(0.117, abs=0.005)


def test_hyperparameters_of_a_wrong_type_are_refused_in_plain_words() -> None:
    for wrong in (True, "many", 1.5):
        with pytest.raises(
            InputError,
            match=f"`n_components` of cca must be a whole number, or None; got {wrong!r}",
        ):
            earsight.method("cca", n_components=wrong)
    for wrong in (True, "much"):
        with pytest.raises(InputError, match=f"must be a number, or 'auto'; got {wrong!r}"):
            earsight.method("cca", ridge=wrong)
    with pytest.raises(InputError, match="must be 'correlation', or 'none'; got 'rho'"):
        earsight.method("cca", weighting="rho")
    with pytest.raises(InputError, match="`seed` of cca must be a whole number; got False"):
        earsight.method("cca", seed=False)
    assert earsight.method("cca", n_components="None", ridge="0.5", standardize="no") == (
        earsight.method("cca", n_components=None, ridge=0.5, standardize=False)
    )
    for nameless in (3, None, ["cca"]):
        with pytest.raises(UnknownNameError, match=r"There is no method .* Known: .*cluster_cca"):
            earsight.method(nameless)  # type: ignore[arg-type]


def test_rows_may_have_any_byte_order_and_precision() -> None:
    views, _ = related()
    x = views["audio"].astype(np.float32)
    model = earsight.method("cca").fit(views)
    expected = model.transform("audio", x)
    assert np.array_equal(model.transform("audio", x.astype(">f4")), expected)
    for dtype in (">f8", np.longdouble):
        foreign = earsight.method("cca").fit({name: v.astype(dtype) for name, v in views.items()})
        assert np.array_equal(foreign.transform("audio", x), expected)
    if np.finfo(np.longdouble).max > np.finfo(np.float64).max:
        with pytest.raises(InputError, match="must be finite"):
            model.transform("audio", x.astype(np.longdouble) * np.longdouble("1e4000"))


def test_rows_that_are_no_plain_table_are_refused() -> None:
    views, labels = related()
    model = earsight.method("cluster_cca").fit(views, labels=labels)
    masked = np.ma.masked_greater(views["audio"], 2.0)
    with pytest.raises(InputError, match=r"`x` must not be masked; [0-9]+ of 1050 entries are"):
        model.transform("audio", masked)
    bare = np.ma.masked_array(views["audio"])
    assert np.array_equal(model.transform("audio", bare), model.transform("audio", views["audio"]))
    with pytest.raises(InputError, match="`x` must have rows of one length"):
        model.transform("audio", [[1, 2], [3]])
    with pytest.raises(InputError, match=r"one of those in `fit`.*; got \['audio'\]"):
        model.transform(["audio"], views["audio"])  # type: ignore[arg-type]
    with pytest.raises(LabelError, match="`labels` must not be masked"):
        model.fit(views, labels=np.ma.masked_equal(labels, 1))


@pytest.mark.parametrize("missing", [float("nan"), np.float32("nan"), None])
@pytest.mark.parametrize("as_object", [True, False])
def test_a_missing_label_is_no_class(missing, as_object: bool) -> None:
    views, labels = related(n=40)
    named = ["abcd"[code] for code in labels]
    named[7] = missing
    given = np.array(named, dtype=object) if as_object else named
    with pytest.raises(LabelError, match=r"`labels` must not be missing; row 7 has (nan|None)"):
        earsight.method("cluster_cca").fit(views, labels=given)
    named[7] = "nan"  # a class may be called so
    assert earsight.method("cluster_cca").fit(views, labels=named).n_components_ >= 3


@pytest.mark.parametrize("dtype", [">i4", "S1", "U1", object, np.dtypes.StringDType()])
def test_labels_may_be_of_any_type_that_names_classes(dtype) -> None:
    views, labels = related()
    expected = earsight.method("cluster_cca").fit(views, labels=labels)
    named = earsight.method("cluster_cca").fit(views, labels=labels.astype(str).astype(dtype))
    assert_same_model(named, expected)
