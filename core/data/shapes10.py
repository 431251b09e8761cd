"""shapes10: ten classes of drawn shapes and textures, 32x32 RGB, from a seed in a second or two.

For a classroom without network, for tests and for the debugger. An image has a random background, foreground,
position, size, rotation and noise; its class is the shape. Every log and figure calls it shapes10.
"""

import numpy as np

CLASSES = (
    "disc", "ring", "square", "triangle", "cross", "stripes across", "stripes down", "checkerboard", "dots", "gradient",
)  # fmt: skip
SIZE = 32


def draw(each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`each` images of each class, shuffled: uint8 [10*each,32,32,3] and labels int32 [10*each]."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(10, dtype=np.int32), each))
    images = np.empty((len(labels), SIZE, SIZE, 3), np.uint8)
    for label in range(10):
        of_class = np.flatnonzero(labels == label)
        images[of_class] = draw_class(label, len(of_class), random)
    return images, labels


def draw_class(label: int, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` images of one class, uint8 [count,32,32,3]."""
    ink = mask(label, count, random)[..., None]  # [count,32,32,1], 0 background to 1 foreground
    paper, colour = (random.uniform(0, 255, (count, 1, 1, 3)).astype(np.float32) for _ in range(2))
    # Keep the two colours apart, so that the shape can be seen.
    near = np.abs(paper - colour).max(axis=-1, keepdims=True) < 60
    colour = np.where(near, 255 - paper + 90 * (np.abs(paper - 127) < 45), colour)
    shade = 1 + 0.25 * random.standard_normal((count, 1, 1, 1), np.float32)
    noise = 22 * random.standard_normal((count, SIZE, SIZE, 3), np.float32)
    return np.clip((paper + ink * (colour - paper)) * shade + noise, 0, 255).astype(np.uint8)


def mask(label: int, count: int, random: np.random.Generator) -> np.ndarray:
    """The foreground: float32 [count,32,32] in [0, 1], for `count` draws of one class."""

    def between(low: float, high: float) -> np.ndarray:
        return random.uniform(low, high, (count, 1, 1)).astype(np.float32)

    rows, columns = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    # Coordinates from a random centre, rotated by a random angle.
    centre_y, centre_x, angle, size = between(11, 21), between(11, 21), between(-0.5, 0.5), between(5, 11)
    y, x = rows - centre_y, columns - centre_x
    v, u = y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
    radius = np.hypot(y, x)
    period, phase = between(4, 9), between(0, 9)

    def wave(along: np.ndarray) -> np.ndarray:
        return (np.mod(along + phase, period) < period / 2).astype(np.float32)

    draws = {
        "disc": lambda: radius < size,
        "ring": lambda: (radius < size) & (radius > 0.6 * size),
        "square": lambda: np.maximum(np.abs(u), np.abs(v)) < 0.85 * size,
        "triangle": lambda: (v < 0.7 * size) & (v > -size + 1.8 * np.abs(u)),
        "cross": lambda: (np.minimum(np.abs(u), np.abs(v)) < 0.28 * size) & (np.maximum(np.abs(u), np.abs(v)) < size),
        "stripes across": lambda: wave(v),
        "stripes down": lambda: wave(u),
        "checkerboard": lambda: wave(u) != wave(v),
        "dots": lambda: np.hypot(np.mod(u + phase, period) - period / 2, np.mod(v, period) - period / 2) < 0.3 * period,
        "gradient": lambda: np.clip(0.5 + (u * np.cos(phase) + v * np.sin(phase)) / (2.5 * size), 0, 1),
    }
    return draws[CLASSES[label]]().astype(np.float32)
