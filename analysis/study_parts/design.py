"""The design of the study: a base network, and factors of which one at a time is changed. No TensorFlow.

A variant is a name and options of train_loop.py that come after those of the base; nothing else differs. Each variant
gets its learning rate from a grid of its own on the hold-out, then FINAL_SEEDS on the test set.
"""

from dataclasses import dataclass

from core.settings import command_line
from core.settings.settings import Settings

BASE = "base"
# `classic` shortened: half as wide, a fifth of the images, 1,000 steps. Few images and several epochs, because the
# factors against overfitting have nothing to do in a single pass. One thread: two runs side by side finish earlier.
BASE_OPTIONS = (
    "--network", "plain", "--width", "16", "--train-images", "10000", "--steps", "1000", "--threads", "1",
    "--kernels", "fast", "--precision", "bfloat16",
)  # fmt: skip
TUNING_SEED = 0
FINAL_SEEDS = (1, 2, 3, 4, 5, 6)  # fixed before the first run; a seed decides everything that is random
RATE_FACTOR = 3
FARTHEST = 3  # the grid is extended to at most 3^3 times the variant's first rate, and as far down


@dataclass(frozen=True)
class Variant:
    """One change of the base."""

    name: str
    options: tuple[str, ...] = ()
    rate: float = 0.04  # the middle of its grid of learning rates

    def rate_at(self, k: int) -> float:
        """The k-th rate of the grid, rate * 3^k, with three digits: ..., -1, 0, 1, ..."""
        return float(f"{self.rate * RATE_FACTOR**k:.3g}")

    def arguments(self, study: "Study", k: int, seed: int, final: bool) -> list[str]:
        """The arguments of train_loop.py for one run; for choosing the rate, on the hold-out and without probes."""
        given = [*study.base_options, *self.options]
        given += ["--data", study.data, "--learning-rate", f"{self.rate_at(k):g}", "--seed", str(seed)]
        return given if final else [*given, "--holdout", "--diagnostics", "off"]

    def settings(self, study: "Study", k: int = 0, seed: int = 0, final: bool = True) -> Settings:
        """The same as settings."""
        return command_line.parse(self.arguments(study, k, seed, final)).settings


@dataclass(frozen=True)
class Factor:
    """What is changed, and the variants beside the base."""

    name: str
    question: str
    variants: tuple[Variant, ...]


def factor(name: str, question: str, *variants: tuple) -> Factor:
    """A factor from (name, options in one string[, middle of the grid]) for each variant."""
    return Factor(name, question, tuple(Variant(v[0], tuple(v[1].split()), *v[2:]) for v in variants))


# In the order in which they are run. That "equal parameters" and "equal FLOPs" are true is tested
# (tests/analysis/test_study_design.py).
FACTORS = (
    factor("batch norm", "Batch normalization after every convolution?", ("batch-norm", "--batch-norm")),
    factor(
        "activation", "Which nonlinearity, and is one needed?", ("no-activation", "--activation none"),
        ("sigmoid", "--activation sigmoid"), ("gelu", "--activation gelu"), ("leaky-relu", "--activation leaky_relu"),
    ),
    factor(
        "pooling", "How to halve rows and columns?", ("average-pooling", "--pooling average"),
        ("stride", "--pooling stride"),
    ),
    factor(
        "augmentation", "Flipped and shifted training images?", ("flip", "--flip random"),
        ("flip-crop", "--flip random --crop 2"),
    ),
    # Without momentum an update is a tenth as long at the same rate: 1 / (1 - 0.9) = 10.
    factor(
        "optimizer", "SGD with momentum, without, or Adam?", ("no-momentum", "--momentum 0", 0.4),
        ("adam", "--optimizer adam", 1e-3),
    ),
    factor(
        "training images", "Half or four times the images, for the same 1,000 steps?",
        ("images-5000", "--train-images 5000"), ("images-40000", "--train-images 40000"),
    ),
    factor("dropout", "Dropout before the last layer?", ("no-dropout", "--dropout 0")),
    factor(
        "depth", "Two convolutions a block, at equal cost?", ("deep-parameters", "--depth 2 --width 13"),
        ("deep-flops", "--depth 2 --width 8"),
    ),
    factor(
        "width", "Half and twice the channels, and twice at equal cost?", ("narrow", "--width 8"),
        ("wide-parameters", "--width 32 --dense-units 31"), ("wide-flops", "--width 32 --steps 277"),
        ("wide", "--width 32"),
    ),
    factor(
        "initialization", "How large are the initial weights?", ("small-init", "--initialization small"),
        ("large-init", "--initialization large"), ("glorot", "--initialization glorot"),
    ),
    factor("head", "Dense layers or global average pooling?", ("average-head", "--head average")),
    factor(
        "kernel size", "How large is the window?", ("kernel-1", "--kernel-size 1"), ("kernel-5", "--kernel-size 5")
    ),
    # The rate grows with the batch (Goyal et al. 2017); its grid decides.
    factor(
        "batch size", "How many images a step, for the same 10 epochs?",
        ("batch-25", "--batch-size 25 --steps 4000", 0.01),
        ("batch-400", "--batch-size 400 --steps 250", 0.16),
    ),
    factor("label smoothing", "Smoothed targets?", ("smoothing", "--label-smoothing 0.1")),
    factor(
        "weight decay", "Without, and five times as much?", ("no-decay", "--weight-decay 0"),
        ("decay-5", "--weight-decay 0.005"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A design as it is run: the whole one, or the small one for a class."""

    name: str
    base_options: tuple[str, ...]
    factors: tuple[Factor, ...]
    seeds: tuple[int, ...]
    rates: tuple[int, ...]  # the first grid, as powers of RATE_FACTOR
    data: str = "cifar10"

    @property
    def variants(self) -> list[Variant]:
        """The base, then those of each factor, in the order in which they are run."""
        return [Variant(BASE), *(variant for factor in self.factors for variant in factor.variants)]


WHOLE = Study("study", BASE_OPTIONS, FACTORS, FINAL_SEEDS, (-1, 0, 1))
# Ten minutes of a class: half the images, 600 steps, three variants beside the base, three seeds.
SMALL = Study(
    "small study",
    ("--network", "plain", "--width", "16", "--train-images", "5000", "--steps", "600", "--threads", "1",
     "--kernels", "fast", "--precision", "float32"),
    (FACTORS[0], Factor("activation", FACTORS[1].question, FACTORS[1].variants[:2])),
    FINAL_SEEDS[:3], WHOLE.rates, "auto",
)  # fmt: skip
