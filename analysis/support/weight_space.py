"""Directions in the space of the weights: filter normalization, principal components of a path, random directions.

A kernel is an array whose last axis counts filters, [kh,kw,Cin,Cout] or [in,out]; a point is one array for each
kernel. All lengths are measured filter by filter, relative to the final filter (filter normalization, Li et al. 2018):
ReLU networks compute the same function when a filter is doubled and the next layer halved, so that an absolute length
means nothing. A displacement of length 1 moves the filters by their own length (root mean square over all filters).
"""

from dataclasses import dataclass

import numpy as np

SMALLEST = 0.1  # of the median norm of a layer's filters: a dead filter that weight decay shrank sets no scale

Point = list[np.ndarray]  # a number for each weight of each kernel


def filter_scales(final: Point) -> Point:
    """For each kernel [...,F] the numbers [F] that the displacements of its filters are divided by.

    The norm of the filter times the root of the number of all filters. A norm below a tenth of the layer's median is
    raised to it; a layer of zeros has the scale 0.
    """
    norms = [np.sqrt((kernel.astype(np.float64) ** 2).reshape(-1, kernel.shape[-1]).sum(axis=0)) for kernel in final]
    root = np.sqrt(sum(len(norm) for norm in norms))
    return [root * np.maximum(norm, SMALLEST * np.median(norm)) for norm in norms]


def normalized(displacement: Point, scales: Point) -> np.ndarray:
    """A displacement as one vector whose length is relative to the final filters. float32 [D]"""
    parts = [np.divide(d, s, out=np.zeros(d.shape), where=s > 0).ravel() for d, s in zip(displacement, scales)]
    return np.concatenate(parts).astype(np.float32)


def displacement(vector: np.ndarray, scales: Point, shapes: list[tuple[int, ...]]) -> Point:
    """The inverse of `normalized`: the change of each kernel that this vector [D] stands for."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    return [part.reshape(shape) * s for part, shape, s in zip(np.split(vector, ends), shapes, scales)]


def principal_directions(path: np.ndarray) -> np.ndarray:
    """The two orthogonal directions of length 1 that a path [P,D] from the origin extends along most. [2,D]

    Principal components about the origin, which is the final weights (Li et al. 2018, section 7), from the P×P matrix
    of inner products; the path's first point has coordinates that are not negative.
    """
    variances, vectors = np.linalg.eigh((path @ path.T).astype(np.float64))
    components = vectors[:, [-1, -2]].T @ path.astype(np.float64)  # [2,D]
    components *= np.where(components @ path[0] < 0, -1, 1)[:, np.newaxis]
    lengths = np.sqrt(np.maximum(variances[[-1, -2]], 0))[:, np.newaxis]
    return np.divide(components, lengths, out=np.zeros_like(components), where=lengths > 1e-6 * lengths[0])


def random_directions(final: Point, scales: Point, seed: int) -> np.ndarray:
    """Two random directions in which every filter moves by its own length: Li et al. 2018, section 4. [2,D]"""
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(2):
        change = [draw.standard_normal(kernel.shape) for kernel in final]
        axes = [tuple(range(kernel.ndim - 1)) for kernel in final]
        # Of length scale/√F: in normalized coordinates each of the F filters has length 1/√F.
        root = np.sqrt(sum(kernel.shape[-1] for kernel in final))
        change = [d / np.sqrt((d**2).sum(axis=a)) * s / root for d, a, s in zip(change, axes, scales)]
        found.append(normalized(change, scales))
    return np.stack(found).astype(np.float64)


@dataclass(frozen=True)
class Projection:
    """A path projected on the plane of two directions through the origin."""

    points: np.ndarray  # [P,2] its coordinates
    fraction: float  # of the sum of the squared distances from the origin: the variance that the plane shows


def project(path: np.ndarray, directions: np.ndarray) -> Projection:
    """The nearest points of a plane, by least squares: two random directions are only nearly orthogonal."""
    gram = directions @ directions.T  # [2,2]
    points = (path @ directions.T) @ np.linalg.pinv(gram)  # [P,2]
    inside, total = (points @ gram * points).sum(), (path.astype(np.float64) ** 2).sum()
    return Projection(points, float(inside / total) if total > 0 else 0.0)


def random_walk_fraction(steps: list[int]) -> float:
    """The fraction that the two principal components show of a random walk seen at these steps, the last the origin.

    In a space of many dimensions two positions of the walk have the inner product min(time of one, time of the other),
    times counted back from the last step. Antognini & Sohl-Dickstein 2018: smooth paths in PCA are no evidence.
    """
    times = steps[-1] - np.array(steps[:-1], np.float64)
    variances = np.linalg.eigvalsh(np.minimum.outer(times, times))
    return float(variances[-2:].sum() / variances.sum())
