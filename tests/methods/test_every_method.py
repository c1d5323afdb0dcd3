"""What holds for every learner, found as the command line finds them."""

import dataclasses
import importlib
import subprocess
import sys
from functools import cache

import numpy as np
import pytest

import earsight
from earsight import discovery
from earsight.errors import InputError, LabelError, NotFittedError
from earsight.methods import JointEmbedding

NAMES = list(discovery.names("methods"))
N, WIDTH = 90, 8
LABELS = np.arange(N) % 3

every_method = pytest.mark.parametrize("name", NAMES)


def views(n: int = N, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of three classes; both views have one width, since some methods need one space."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(2, 3, WIDTH))
    own = rng.normal(size=(n, WIDTH))
    x, y = (centres[i][np.arange(n) % 3] + 0.5 * own + rng.normal(size=(n, WIDTH)) for i in (0, 1))
    return {"text": x, "image": y}


@cache
def fitted(name: str) -> JointEmbedding:
    return earsight.method(name, seed=3).fit(views(), labels=LABELS)


@every_method
def test_a_kind_is_one_keyword_only_dataclass_named_like_its_file(name: str) -> None:
    kind = discovery.load("methods", name)
    assert issubclass(kind, JointEmbedding)
    assert kind.__doc__ and dataclasses.is_dataclass(kind)
    assert all(field.kw_only for field in dataclasses.fields(kind) if field.init)


@every_method
def test_transform_gives_float32_points_for_one_modality_alone(name: str) -> None:
    model = fitted(name)
    new = views(5, seed=1)["image"]
    z = model.transform("image", new)
    assert z.shape == (5, model.n_components_) and z.dtype == np.float32
    assert np.isfinite(z).all() and z.std() > 0
    one_by_one = np.vstack([model.transform("image", row[None]) for row in new])
    np.testing.assert_allclose(z, one_by_one, rtol=1e-5, atol=1e-6)


@every_method
def test_fit_returns_itself_and_leaves_hyperparameters_and_input_alone(name: str) -> None:
    model = earsight.method(name)
    given, rows = model.get_params(), views()
    before = {modality: x.copy() for modality, x in rows.items()}
    labels = LABELS.copy()
    assert model.fit(rows, labels=labels) is model
    assert model.get_params() == given
    assert list(model.dims_) == ["text", "image"]
    assert all(np.array_equal(rows[modality], before[modality]) for modality in rows)
    assert np.array_equal(labels, LABELS)


@every_method
def test_the_same_seed_gives_the_same_model(name: str) -> None:
    again = earsight.method(name, seed=3).fit(views(), labels=LABELS)
    for modality, x in views(7, seed=2).items():
        assert np.array_equal(again.transform(modality, x), fitted(name).transform(modality, x))


@every_method
def test_float32_rows_give_nearly_the_same_points(name: str) -> None:
    rows = {modality: x.astype(np.float32) for modality, x in views().items()}
    model = earsight.method(name, seed=3).fit(rows, labels=LABELS)
    assert model.n_components_ == fitted(name).n_components_
    z = model.transform("text", rows["text"])
    assert z.dtype == np.float32 and np.isfinite(z).all()


@every_method
def test_a_saved_model_is_the_same_model(name: str, tmp_path) -> None:
    model = fitted(name)
    model.save(tmp_path / "model")
    loaded = earsight.load_model(tmp_path / "model")
    assert type(loaded) is type(model)
    assert loaded.get_params() == model.get_params()
    assert (loaded.dims_, loaded.n_components_) == (model.dims_, model.n_components_)
    for modality, x in views(7, seed=2).items():
        assert np.array_equal(loaded.transform(modality, x), model.transform(modality, x))
    suffixes = {path.suffix for path in (tmp_path / "model").iterdir()}
    assert suffixes == {".json", ".safetensors"}


@every_method
def test_what_is_not_fitted_says_so(name: str, tmp_path) -> None:
    model = earsight.method(name)
    with pytest.raises(NotFittedError, match=f"{name} must be fitted before `transform`"):
        model.transform("text", views()["text"])
    with pytest.raises(NotFittedError, match="before `save`"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@every_method
def test_bad_rows_are_refused_and_leave_the_old_fit(name: str) -> None:
    model = earsight.method(name).fit(views(), labels=LABELS)
    x = views(4, seed=1)["image"]
    before = model.transform("image", x)
    broken = views()
    broken["image"][3, 2] = np.nan
    with pytest.raises(InputError, match=r"`views\['image'\]` must be finite; 1 of 90 rows"):
        model.fit(broken, labels=LABELS)
    with pytest.raises(LabelError, match="one value for each of the 90 rows; got 80"):
        model.fit(views(), labels=LABELS[:80])
    with pytest.raises(InputError, match="must be a mapping"):
        model.fit(list(views().values()), labels=LABELS)  # type: ignore[arg-type]
    assert np.array_equal(model.transform("image", x), before)


@every_method
def test_a_fit_that_breaks_half_way_leaves_the_old_fit(name: str, monkeypatch) -> None:
    model = earsight.method(name).fit(views(), labels=LABELS)
    x = views(4, seed=1)["image"]
    before = model.transform("image", x)
    learn = type(model)._fit

    def breaks(self: JointEmbedding, rows: object) -> None:
        learn(self, rows)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(type(model), "_fit", breaks)
    with pytest.raises(KeyboardInterrupt):
        model.fit({k: v[::-1] * 3 + 1 for k, v in views(seed=5).items()}, labels=LABELS[::-1])
    assert np.array_equal(model.transform("image", x), before)


@every_method
def test_transform_checks_what_it_is_given(name: str) -> None:
    model = fitted(name)
    with pytest.raises(
        InputError, match=r"one of those in `fit`, \['text', 'image'\]; got 'audio'"
    ):
        model.transform("audio", views()["text"])
    with pytest.raises(InputError, match="must have 8 features, as in `fit`; got 7"):
        model.transform("text", views()["text"][:, :7])
    with pytest.raises(InputError, match=r"A single item is x\[None, :\]"):
        model.transform("text", views()["text"][0])


@every_method
def test_labels_are_asked_for_by_those_that_need_them(name: str) -> None:
    model = earsight.method(name)
    if model.needs_labels:
        with pytest.raises(LabelError, match=f"{name} needs `labels`"):
            model.fit(views())
    else:
        assert model.fit(views()).transform("text", views()["text"]).shape[0] == N


@every_method
def test_labels_as_a_mapping_mean_unpaired_rows(name: str) -> None:
    model = earsight.method(name, seed=3)
    rows = views()
    rows["image"] = rows["image"][:60]
    labels = {"text": LABELS, "image": LABELS[:60]}
    if model.needs_pairs:
        with pytest.raises(InputError, match="needs paired rows"):
            model.fit(rows, labels=labels)
    else:
        assert model.fit(rows, labels=labels).transform("image", rows["image"]).shape[0] == 60


@every_method
def test_classes_may_be_named_by_strings(name: str) -> None:
    model = earsight.method(name, seed=3).fit(views(), labels=np.array(["a", "b", "c"])[LABELS])
    x = views(7, seed=2)["text"]
    assert np.array_equal(model.transform("text", x), fitted(name).transform("text", x))


@every_method
def test_it_finds_its_training_classes_better_than_chance(name: str) -> None:
    model = fitted(name)
    embedded = {modality: model.transform(modality, x) for modality, x in views().items()}
    scores = earsight.evaluate(embedded, labels=LABELS)
    if model.name != "zero_shot":  # it learns nothing, and these views do not share a space
        assert min(direction.map - direction.map_chance for direction in scores.values()) > 0.05


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in NAMES
        if "n_components"
        in {f.name for f in dataclasses.fields(discovery.load("methods", n)) if f.init}
    ],
)
def test_a_number_of_components_is_kept_or_refused(name: str) -> None:
    labels = None if name == "auto" else LABELS  # with labels its width is not free
    model = earsight.method(name, n_components=2).fit(views(), labels=labels)
    assert model.n_components_ == 2 == model.transform("text", views()["text"]).shape[1]
    for wrong in (0, -1, 1.5):
        with pytest.raises(InputError, match="`n_components`"):
            discovery.load("methods", name)(n_components=wrong)


@every_method
def test_wrong_hyperparameters_are_refused_by_name(name: str) -> None:
    with pytest.raises(InputError, match=f"{name} has no hyper-parameter 'sneed'. It has: "):
        earsight.method(name, sneed=1)
    with pytest.raises(InputError, match="`seed`"):
        earsight.method(name, seed="many")
    with pytest.raises(InputError, match="`seed` must be a whole number of at least 0; got -1"):
        discovery.load("methods", name)(seed=-1)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(earsight.errors.UnknownNameError, match=r"Did you mean 'cca'.*cluster_cca"):
        earsight.method("ccaa")


def test_a_list_on_the_command_line_is_joined_by_x() -> None:
    def make(spec: str) -> JointEmbedding:
        return discovery.make("methods", *discovery.parse_spec(spec))

    assert make("dcca:hidden=64x32,epochs=3").get_params().items() >= {
        ("hidden", (64, 32)),
        ("epochs", 3),
    }
    assert make("s_dcca:hidden=48").get_params()["hidden"] == (48,)
    assert make("c_dcca:hidden=").get_params()["hidden"] == ()
    for wrong in ("64+32", "64x", "1.5x2", "wide"):
        with pytest.raises(
            InputError, match=r"`hidden` of dcca must be.*whole numbers, joined by x"
        ):
            make(f"dcca:hidden={wrong}")
    with pytest.raises(InputError, match="`hidden` must be a whole number of at least 1; got -2"):
        make("dcca:hidden=64x-2")


def test_every_class_can_be_imported_from_the_package() -> None:
    for package in ("methods", "extractors"):
        module = importlib.import_module(f"earsight.{package}")
        kinds = {discovery.load(package, name) for name in discovery.names(package)}
        assert {kind.__name__ for kind in kinds} <= set(module.__all__) == set(dir(module))
        assert kinds <= {getattr(module, name) for name in module.__all__}
        with pytest.raises(AttributeError, match="has no attribute 'Tnn'"):
            _ = module.Tnn
    assert dir(earsight) == sorted(earsight.__all__)


def test_importing_the_packages_is_light() -> None:
    code = (
        "import sys, earsight, earsight.methods, earsight.extractors\n"
        "assert not {'numpy', 'torch', 'pydantic', 'sklearn'} & set(sys.modules)\n"
        "from earsight.methods import TNN, ClusterCCA\n"
        "assert not {'torch', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@every_method
def test_parameters_are_those_of_scikit_learn(name: str) -> None:
    from sklearn.base import clone

    model = earsight.method(name, seed=3)
    copy = clone(model)
    assert copy is not model and copy.get_params() == model.get_params()
    assert not hasattr(clone(fitted(name)), "dims_")
    assert copy.set_params(seed=4) is copy and copy.seed == 4 and model.seed == 3
    with pytest.raises(InputError, match=f"{name} has no hyper-parameter 'sneed'. It has: seed"):
        copy.set_params(sneed=1)
    with pytest.raises(InputError, match="`seed`"):
        copy.set_params(seed=-1)
    assert copy.seed == 4


@every_method
def test_all_views_are_fitted_and_mapped_at_once(name: str) -> None:
    found = earsight.method(name, seed=3).fit_transform(views(), labels=LABELS)
    assert list(found) == ["text", "image"]
    for modality, x in fitted(name).transform_views(views()).items():
        assert np.array_equal(found[modality], x)
        assert np.array_equal(x, fitted(name).transform(modality, views()[modality]))
