"""Whitened principal components, as YouTube-8M publishes its features, and their 8-bit form."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray, as_matrix
from earsight.errors import InputError, WeightsError

EPSILON = 1e-4  # added to each variance before its root divides
LIMIT = 2.0  # the 8-bit form holds [−2, 2]
YOUTUBE8M = ("mean.npy", "eigenvals.npy", "eigenvecs.npy")
N_YOUTUBE8M = 1024  # components


@dataclass(frozen=True)
class PCA:
    """y = (x − mean) Eᵀ / √(λ + 10⁻⁴), one row of E and one λ for each component.

    Attributes:
        mean: (d,) float32.
        eigenvalues: (k,) float32, falling.
        eigenvectors: (k, d) float32.
        name: "yt8m" for YouTube-8M's matrices; "pca-" and the beginning of the checksum for one
            fitted on one's own features.
        checksum: Hex SHA-256 of the file, or of the three files.
    """

    mean: FloatArray
    eigenvalues: FloatArray
    eigenvectors: FloatArray
    name: str
    checksum: str

    def apply(self, x: FloatArray) -> FloatArray:
        """Map (n, d) to (n, k) float32."""
        y = (x - self.mean) @ self.eigenvectors.T  # (n, k)
        return np.asarray(y / np.sqrt(self.eigenvalues + np.float32(EPSILON)), dtype=np.float32)


def read_pca(place: Path, dim: int) -> PCA:
    """Read YouTube-8M's three matrices from a folder, or a PCA of one's own from its file.

    Args:
        place: A folder with mean.npy, eigenvals.npy and eigenvecs.npy, as yt8m_pca.tgz holds them;
            or a .safetensors file that `fit_pca` wrote.
        dim: Width of the features it must be for.

    Raises:
        InputError: There is no such file or folder, or it is for features of another width.
        WeightsError: A file is damaged, or its numbers are no PCA.
    """
    if place.is_dir():
        files = [place / name for name in YOUTUBE8M]
    elif place.is_file():
        files = [place]
    else:
        raise InputError(
            f"`pca` must be a folder with {', '.join(YOUTUBE8M)} (YouTube-8M's, unpacked), or a "
            f"file that fit_pca wrote; got {str(place)!r}, which is not there."
        )
    if lacking := [path.name for path in files if not path.is_file()]:
        raise InputError(f"`pca`: the folder {place} lacks {', '.join(lacking)}.")
    # Read once: what is used is what was hashed, also where the file is fitted anew meanwhile.
    blobs = [path.read_bytes() for path in files]
    sums = [hashlib.sha256(blob).hexdigest() for blob in blobs]
    checksum = sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()
    try:
        mean, values, vectors = _youtube8m(blobs) if len(files) > 1 else _own(blobs[0])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise WeightsError(f"`pca`: {place} cannot be read: {error}.") from error
    name = "yt8m" if len(files) > 1 else f"pca-{checksum[:8]}"
    pca = PCA(mean, values, vectors, name, checksum)
    _check(pca, place, dim)
    return pca


def fit_pca(features: FloatArray, file: Path | str, n_components: int = N_YOUTUBE8M) -> None:
    """Fit whitened principal components on one's own features and write them to a file.

    λ and E are the largest eigenvalues and their eigenvectors of the features' covariance
    XᵀX/(n − 1), X centred. Each eigenvector's largest entry is positive, so that the same features
    give the same file.

    Args:
        features: (n, d), one row for each frame or clip.
        file: Where to, ending in .safetensors; `inception:pca=FILE` reads it.
        n_components: How many to keep.

    Raises:
        InputError: `n_components` is below 1 or above the features' rank, or the file has another
            ending.
    """
    from safetensors.numpy import save_file

    file = Path(file)
    if file.suffix != ".safetensors":
        raise InputError(f"A PCA's file must end in .safetensors; got {file.name!r}.")
    x = as_matrix(features, "features").astype(np.float64)
    mean = x.mean(axis=0)
    values, vectors = _principal(x - mean)
    rank = int((values > values[0] * x.shape[1] * np.finfo(np.float32).eps).sum())
    if not 1 <= n_components <= rank:
        raise InputError(
            f"`n_components` must be from 1 to {rank}, the rank of these {len(x)} features; "
            f"got {n_components}."
        )
    vectors = vectors[:n_components]
    largest = vectors[np.arange(n_components), np.abs(vectors).argmax(axis=1)]
    tensors = {
        "mean": mean,
        "eigenvalues": values[:n_components],
        "eigenvectors": vectors * np.sign(largest)[:, None],
    }
    arrays = {name: np.ascontiguousarray(t, dtype=np.float32) for name, t in tensors.items()}
    save_file(arrays, file, metadata={"earsight": "pca"})


def _principal(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the falling eigenvalues of xᵀx/(n − 1), and its eigenvectors row by row."""
    n, d = x.shape
    if n < d:  # the covariance would be the larger matrix
        _, singular, vectors = np.linalg.svd(x, full_matrices=False)
        return singular**2 / max(n - 1, 1), vectors
    values, columns = np.linalg.eigh(x.T @ x / (n - 1))  # rising
    return values[::-1], columns[:, ::-1].T


def quantise(features: FloatArray) -> npt.NDArray[np.uint8]:
    """Return the 8-bit form of YouTube-8M: round((clip(x, −2, 2) + 2) · 255/4).

    Args:
        features: Any shape, whitened; what lies beyond ±2 is cut off, as published.

    Raises:
        InputError: A number is not finite.

    >>> quantise(np.array([-3.0, -2.0, 0.0, 2.0])).tolist()
    [0, 0, 128, 255]
    """
    x = np.asarray(features, dtype=np.float64)
    if not np.isfinite(x).all():
        raise InputError("Features must be finite to be quantised; some are NaN or infinite.")
    return np.rint((np.clip(x, -LIMIT, LIMIT) + LIMIT) * (255 / (2 * LIMIT))).astype(np.uint8)


def dequantise(codes: npt.NDArray[np.uint8]) -> FloatArray:
    """Return the features of 8-bit codes, as YouTube-8M reads them: q · 4/255 + 4/512 − 2.

    Within ±2 a feature comes back with an error of at most 4/510 + 4/512, one step of the code.

    >>> dequantise(np.array([0, 255], dtype=np.uint8)).tolist()
    [-1.9921875, 2.0078125]
    """
    span = 2 * LIMIT
    return np.asarray(codes * (span / 255) + (span / 512 - LIMIT), dtype=np.float32)


def _youtube8m(blobs: list[bytes]) -> tuple[FloatArray, FloatArray, FloatArray]:
    mean, values, vectors = (np.load(BytesIO(blob), allow_pickle=False) for blob in blobs)
    return (
        np.asarray(mean, np.float32).ravel(),
        np.asarray(values, np.float32).ravel()[:N_YOUTUBE8M],
        np.asarray(vectors, np.float32)[:N_YOUTUBE8M],
    )


def _own(blob: bytes) -> tuple[FloatArray, FloatArray, FloatArray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found: Mapping[str, FloatArray] = load(blob)
    except SafetensorError as error:
        raise ValueError(error) from error
    return found["mean"], found["eigenvalues"], found["eigenvectors"]


def _check(pca: PCA, place: Path, dim: int) -> None:
    shapes = [a.shape for a in (pca.mean, pca.eigenvalues, pca.eigenvectors)]
    k = len(pca.eigenvalues)
    if shapes != [(len(pca.mean),), (k,), (k, len(pca.mean))] or k < 1:
        raise WeightsError(
            f"`pca`: {place} must hold a mean (d,), eigenvalues (k,) and eigenvectors (k, d); "
            f"got {', '.join(map(str, shapes))}."
        )
    if len(pca.mean) != dim:
        raise InputError(
            f"`pca` must be for features of width {dim}; {place} is for {len(pca.mean)}."
        )
    parts = (pca.mean, pca.eigenvalues, pca.eigenvectors)
    if not all(np.isfinite(a).all() for a in parts) or pca.eigenvalues.min() <= -EPSILON:
        raise WeightsError(f"`pca`: {place} must hold finite numbers, and no variance below 0.")
