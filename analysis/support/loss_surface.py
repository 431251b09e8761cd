"""The loss as a function of the weights: at a point, on a line, on a plane with the path of a run's checkpoints.

The images are fixed; the batch-norm statistics are estimated anew at every point.
"""

from core import devices

tf = devices.import_tensorflow()

from dataclasses import dataclass

import numpy as np

from analysis.support import checkpoint_series, weight_space
from analysis.support.network import restored_network, untrained_network
from analysis.support.run import Run
from core.data.batches import standardize
from core.layers import BatchNormalization
from core.layers.normalization import batch_moments
from core.losses import softmax_cross_entropy
from core.model import CNN
from core.run import checkpoints
from core.run.errors import RunError

PATH = 30  # checkpoints on the plane at most
ALPHAS = np.linspace(-0.25, 1.25, 25)  # 0 and 1 are among them


def logits_with_own_statistics(network: CNN, x: tf.Tensor) -> tf.Tensor:
    """Logits [N,K] of standardized images [N,32,32,3]; batch norm uses the mean and the variance of these images.

    They become the network's moving averages, so that an evaluation of other images follows with the statistics of
    these weights: the averages of the training belong to the weights of the training. Dropout is off.
    """
    for layer in network.layers:
        if isinstance(layer, BatchNormalization):
            mean, variance = batch_moments(x)
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)
        x = layer(x, training=False)
    return x


class LossSurface:
    """Call it with a value for each parameter of the network: the mean losses in nats. The network is changed."""

    def __init__(self, network: CNN, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]):
        """train, test: uint8 images [N,32,32,3] and labels [N]; the statistics are those of the training images."""
        self.network = network
        (seen, seen_labels), (unseen, unseen_labels) = (
            (standardize(images), labels) for images, labels in (train, test)
        )

        def train_loss():
            logits = logits_with_own_statistics(network, seen)
            return tf.reduce_mean(softmax_cross_entropy(logits, seen_labels))

        def test_loss():
            return tf.reduce_mean(softmax_cross_entropy(network(unseen, training=False), unseen_labels))

        self.train_loss = tf.function(train_loss, autograph=False)
        self.test_loss = tf.function(test_loss, autograph=False)

    def __call__(self, parameters: list[np.ndarray], with_test: bool = False):
        """The training loss; with_test: (training loss, test loss). NaN or infinite where the logits are."""
        for variable, value in zip(self.network.parameters, parameters, strict=True):
            variable.assign(value)
        train = float(self.train_loss())
        return (train, float(self.test_loss())) if with_test else train


@dataclass(frozen=True)
class Line:
    """Losses in nats along w(α) = (1 - α) initial + α final."""

    train: np.ndarray  # [A]
    test: np.ndarray  # [A]


@dataclass(frozen=True)
class Plane:
    """The training loss on a grid of a plane through the final weights, and the path of the checkpoints on it."""

    directions: str  # pca or random
    x: np.ndarray  # [G] coordinates of the grid's columns
    y: np.ndarray  # [G] of its rows
    losses: np.ndarray  # [G,G] losses[i, j] at (x[j], y[i])
    steps: list[int]  # [P] 0 for the initial weights, the last one for the final weights
    points: np.ndarray  # [P,2]
    own_losses: np.ndarray  # [P] at the weights themselves
    projected_loss: float  # at the projection of the initial weights
    fraction: float  # of the path's variance about the final weights that the plane shows


class Weights:
    """The networks of a run as parameters: initial, final, and the checkpoints between them."""

    def __init__(self, run: Run):
        self.folder, self.newest = run.folder, checkpoints.newest(run.folder)
        self.network = restored_network(run.folder, self.newest)
        parameters = self.network.parameters
        names = {id(variable): name for name, variable in self.network.named_variables.items()}
        self.names = [names[id(variable)] for variable in parameters]
        self.final = [variable.numpy() for variable in parameters]
        self.initial = [variable.numpy() for variable in untrained_network(run.folder).parameters]
        if not all(np.isfinite(value).all() for value in self.final):
            raise RunError(f"{self.newest.path}: its weights are not finite; `analysis/diagnose.py` names the cause")
        self.is_kernel = [value.ndim > 1 for value in self.final]

    def kernels(self, parameters: list[np.ndarray]) -> list[np.ndarray]:
        """Those of the parameters that the plane changes."""
        return [value for value, kernel in zip(parameters, self.is_kernel) if kernel]

    def with_kernels(self, change: list[np.ndarray]) -> list[np.ndarray]:
        """The final parameters with this change of their kernels."""
        changes = iter(change)
        return [value + next(changes) if kernel else value for value, kernel in zip(self.final, self.is_kernel)]

    def path(self) -> tuple[list[int], list[list[np.ndarray]]]:
        """(steps, parameters) of the initial weights and of the checkpoints before the newest one, finite ones."""
        steps, found = [0], [self.initial]
        for checkpoint in checkpoint_series.undamaged(checkpoint_series.saved_paths(self.folder, PATH)):
            values = [checkpoint.tensors.get(name) for name in self.names]
            same = all(v is not None and v.shape == f.shape for v, f in zip(values, self.final))
            if checkpoint.step < self.newest.step and same and all(np.isfinite(value).all() for value in values):
                steps.append(checkpoint.step)
                found.append(values)
        return steps, found


def compute_line(surface, weights: Weights, bar) -> Line:
    """Both losses at every α."""
    losses = []
    for alpha in ALPHAS:
        mixed = [(1 - alpha) * w0 + alpha * w for w0, w in zip(weights.initial, weights.final)]
        losses.append(surface(mixed, with_test=True))
        bar.update()
    return Line(*np.array(losses).T)


def compute_plane(surface, weights: Weights, path, directions: str, grid: int, bar) -> Plane:
    """The losses on the grid, the path's projection and its own losses."""
    steps, found = path
    final = weights.kernels(weights.final)
    scales, shapes = weight_space.filter_scales(final), [kernel.shape for kernel in final]
    moved = [[k - f for k, f in zip(weights.kernels(values), final)] for values in found]
    vectors = np.stack([weight_space.normalized(change, scales) for change in moved])  # [P,D]
    if directions == "pca":
        axes = weight_space.principal_directions(vectors)
    else:
        axes = weight_space.random_directions(final, scales, seed=0)
    projection = weight_space.project(vectors, axes)
    points = np.vstack([projection.points, [0, 0]])
    if directions == "pca":
        low, high = points.min(axis=0), points.max(axis=0)
        margin = np.maximum(0.25 * (high - low), 0.15 * (high - low).max() + 1e-6)
        low, high = low - margin, high + margin
    else:
        low, high = -np.ones(2), np.ones(2)
    x, y = np.linspace(low, high, grid).T

    def at(a: float, b: float) -> float:
        change = weight_space.displacement(a * axes[0] + b * axes[1], scales, shapes)
        bar.update()
        return surface(weights.with_kernels(change))

    losses = np.array([[at(a, b) for a in x] for b in y])
    own = []
    for values in [*found, weights.final]:
        own.append(surface(values))
        bar.update()
    return Plane(
        directions, x, y, losses, [*steps, weights.newest.step], points, np.array(own), at(*points[0]),
        projection.fraction,
    )  # fmt: skip
