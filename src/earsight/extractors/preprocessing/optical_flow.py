"""Optical flow between small grey pictures, many pairs at once, by dense inverse search in numpy.

Reference: Kroeger et al., Fast optical flow using dense inverse search, ECCV 2016.
"""

import numpy as np
import numpy.typing as npt

from earsight.arrays import FloatArray

CELL = 4  # pixels of the pictures to one of the flow
PATCH, STRIDE = 8, 4  # cells
STEPS = 6  # of gradient descent
DAMPING = 32.0  # squared grey levels a patch: a patch without texture stays where it is
LOST = PATCH  # cells: a patch that moves further goes back


def optical_flow(before: npt.NDArray[np.uint8], after: npt.NDArray[np.uint8]) -> FloatArray:
    """Return how far each place moves, in pixels of the pictures.

    Both are made smaller by 4. There, patches of 8 × 8, every four cells, are looked for: of a
    patch T at x, the displacement u that makes Σ (J(x + u) − T(x) − mean difference)² smallest, by
    Gauss-Newton steps with the gradient of T. A place's flow is the mean of the patches over it,
    by 1/max(1, |error|). One scale, as the fastest preset of OpenCV has for pictures as small as
    160 × 128: a coarser one, of few patches, starts some patches in the wrong place.

    Args:
        before, after: (pairs, height, width) grey levels; multiples of 16 are cut into whole
            patches.

    Returns:
        (pairs, 2, height/4, width/4) float32: across, then down.
    """
    return CELL * _searched(_shrunk(before, CELL), _shrunk(after, CELL))


def _shrunk(pictures: npt.NDArray[np.generic], by: int) -> FloatArray:
    """Return the means of by × by pixels."""
    n, height, width = pictures.shape
    cut = pictures.reshape(n, height // by, by, width // by, by)
    return np.asarray(cut.mean(axis=(2, 4), dtype=np.float32))


def _patches(pictures: FloatArray) -> FloatArray:
    """Return the patches of (…, height, width) as (…, rows, columns, 8, 8)."""
    windows = np.lib.stride_tricks.sliding_window_view(pictures, (PATCH, PATCH), axis=(-2, -1))
    return windows[..., ::STRIDE, ::STRIDE, :, :]


def _searched(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return how far each cell moves, in cells: (pairs, 2, height, width)."""
    down, across = map(np.asarray, np.gradient(before, axis=(1, 2)))
    template = _patches(before)  # (pairs, rows, columns, 8, 8)
    slopes = np.stack([_patches(across), _patches(down)], axis=1)
    slopes -= slopes.mean(axis=(-2, -1), keepdims=True)  # the mean difference is left out
    hessian = np.einsum("niyxab,njyxab->nyxij", slopes, slopes) + DAMPING * np.eye(2)
    solve = np.linalg.inv(hessian).astype(np.float32)  # (pairs, rows, columns, 2, 2)
    n, rows, columns = template.shape[:3]
    moved = np.zeros((n, 2, rows, columns), dtype=np.float32)
    look = _Look(after, (rows, columns))
    for _ in range(STEPS):
        error = look(moved) - template
        pull = np.einsum("niyxab,nyxab->nyxi", slopes, error)
        moved -= np.einsum("nyxij,nyxj->niyx", solve, pull)
        lost = (np.abs(moved) > LOST).any(axis=1, keepdims=True)
        moved = np.where(lost, np.float32(0), moved)
    error = look(moved) - template
    error -= error.mean(axis=(-2, -1), keepdims=True)
    return _spread(moved, 1 / np.maximum(1, np.abs(error)))


class _Look:
    """Reads the patches of a picture where they have moved to, between pixels linearly."""

    def __init__(self, pictures: FloatArray, grid: tuple[int, ...]) -> None:
        n, self._height, self._width = pictures.shape
        self._room = PATCH  # around the picture, whose edge goes on there
        around = np.pad(pictures, ((0, 0), (PATCH, PATCH), (PATCH, PATCH)), mode="edge")
        size = (PATCH + 1, PATCH + 1)
        self._windows = np.lib.stride_tricks.sliding_window_view(around, size, axis=(1, 2))
        self._pair = np.arange(n)[:, None, None]
        self._top = (STRIDE * np.arange(grid[0]) + PATCH)[:, None]
        self._left = STRIDE * np.arange(grid[1]) + PATCH

    def __call__(self, moved: FloatArray) -> FloatArray:
        """(pairs, 2, rows, columns) → (pairs, rows, columns, 8, 8)."""
        left = np.clip(self._left + moved[:, 0], 0, self._width + PATCH - 1)
        top = np.clip(self._top + moved[:, 1], 0, self._height + PATCH - 1)
        x, y = left.astype(np.intp), top.astype(np.intp)
        a, b = ((s - i).astype(np.float32)[..., None, None] for s, i in ((left, x), (top, y)))
        seen = self._windows[self._pair, y, x]  # (pairs, rows, columns, 9, 9)
        rows = seen[..., :-1, :] + b * (seen[..., 1:, :] - seen[..., :-1, :])
        return np.asarray(rows[..., :-1] + a * (rows[..., 1:] - rows[..., :-1]))


def _spread(moved: FloatArray, weight: FloatArray) -> FloatArray:
    """Return each place's weighted mean of the patches that cover it.

    Args:
        moved: (pairs, 2, rows, columns).
        weight: (pairs, rows, columns, 8, 8).

    Returns:
        (pairs, 2, height, width).
    """
    n, _, rows, columns = moved.shape
    parts = PATCH // STRIDE  # a patch is so many cells, in each direction
    cells = (n, 3, rows + parts - 1, STRIDE, columns + parts - 1, STRIDE)
    total = np.zeros(cells, dtype=np.float32)
    weighted = np.concatenate([moved, np.ones_like(moved[:, :1])], axis=1)
    cut = weight.reshape(n, 1, rows, columns, parts, STRIDE, parts, STRIDE)
    for i in range(parts):
        for j in range(parts):
            share = cut[:, :, :, :, i, :, j, :].swapaxes(3, 4)  # (n, 1, rows, 4, columns, 4)
            total[:, :, i : i + rows, :, j : j + columns] += (
                share * weighted[:, :, :, None, :, None]
            )
    dense = total.reshape(n, 3, (rows + parts - 1) * STRIDE, (columns + parts - 1) * STRIDE)
    return np.asarray(dense[:, :2] / dense[:, 2:])
