"""The settings of a run: one frozen dataclass. The range of a setting stands with its field.

Nothing here imports TensorFlow, so a mistake on the command line is reported at once and not after
four seconds of start-up.
"""

import dataclasses
import difflib
import re
from dataclasses import dataclass

SPEED_NETWORKS = ("speed64", "speed192", "airbench94")  # core/speed/networks.py: one builder, three widths
NETWORKS = ("classic", "modern", "debug", "plain", *SPEED_NETWORKS)  # the first three: core/model.py
WITHOUT_BATCH_NORM = ("classic",)  # every image passes the network independently of its batch
OPTIMIZERS = ("sgd", "adam", "adamw", "muon")
ACTIVATIONS = ("relu", "leaky_relu", "gelu", "sigmoid", "none")  # core/layers/activation.py
POOLINGS = ("max", "average", "stride")
HEADS = ("dense", "average")
INITIALIZATIONS = ("he", "glorot", "small", "large")
# The settings that core/variants.py builds the network `plain` from.
PLAIN_SETTINGS = (
    "width", "depth", "kernel_size", "pooling", "batch_norm", "dropout", "head", "dense_units", "initialization",
)  # fmt: skip
FLIPS = ("none", "random", "alternating")
DATA_SETS = ("auto", "cifar10", "shapes10")
DIAGNOSTICS = ("off", "light", "full")  # core/measure/diagnostics.py
PRECISIONS = ("auto", "float32", "bfloat16")
KERNELS = ("auto", "textbook", "fast")  # core/speed/kernels.py
TRAIN_IMAGES = {"cifar10": 50_000, "shapes10": 10_000}
HOLDOUT_IMAGES = {"cifar10": 5_000, "shapes10": 1_000}

# The order of the groups in --help.
GROUPS = ("data", "network", "optimization", "regularization", "speed", "diagnostics", "bookkeeping")


def setting(default, text: str, group: str, choices: tuple = (), interval: str = "", pattern: str = ""):
    """One field of Settings: its default, its sentence in `--help`, its group there, and the values it accepts.

    choices: the accepted words. interval: "[0, 1)" or "(0, 1e9]". pattern: a regular expression.
    """
    accepted = {"choices": choices, "interval": interval, "pattern": pattern}
    return dataclasses.field(default=default, metadata={"text": text, "group": group, **accepted})


@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run computes, and what it records."""

    # Data.
    data: str = setting("auto", "cifar10, shapes10, or auto: cifar10 if available, else shapes10", "data", DATA_SETS)
    data_dir: str = setting("", "where cifar-10-batches-bin/ is; else $CIFAR10_DIR, else data/ in the project", "data")
    holdout: bool = setting(
        False, "train on 9/10 of the training images and evaluate on the other tenth: for choosing settings", "data"
    )
    train_images: int = setting(
        0, "train on only the first so many of the training images; 0: on all", "data", interval="[0, 50000]"
    )

    # Network.
    recipe: str = setting("classic", "a named set of settings: classic, modern, minute, five, fast or debug", "network")
    network: str = setting("classic", "the architecture: core/model.py, variants.py, speed/networks.py", "network",
                           NETWORKS)  # fmt: skip
    activation: str = setting("relu", "of the network plain and of the speed networks", "network", ACTIVATIONS)
    whitening_init: bool = setting(True, "speed networks: compute the first layer from the images, fixed", "network")
    width: int = setting(
        32, "plain: channels of the first block; the second has two, the third four times as many", "network",
        interval="[1, 1024]",
    )  # fmt: skip
    depth: int = setting(1, "plain: convolutions in each of the three blocks", "network", interval="[1, 8]")
    kernel_size: int = setting(3, "plain: rows and columns of a convolution's kernel", "network", interval="[1, 9]")
    pooling: str = setting(
        "max", "plain: how a block halves rows and columns; stride: by its last convolution", "network", POOLINGS
    )
    batch_norm: bool = setting(False, "plain: batch normalization after every convolution", "network")
    dropout: float = setting(0.4, "plain: the rate of the dropout before the last layer", "network",
                             interval="[0, 1)")  # fmt: skip
    head: str = setting(
        "dense", "plain: two dense layers, or average: global average pooling and one dense layer", "network", HEADS
    )
    dense_units: int = setting(128, "plain: outputs of the first dense layer", "network", interval="[1, 65536]")
    initialization: str = setting(
        "he", "plain: the size of the initial weights; small: a tenth of He's, large: three times He's", "network",
        INITIALIZATIONS,
    )  # fmt: skip

    # Optimization.
    epochs: int = setting(7, "passes over the training images", "optimization", interval="[1, 100000]")
    steps: int = setting(
        0, "end after this many steps instead of after whole epochs; 0: use epochs", "optimization",
        interval="[0, 10000000]",
    )  # fmt: skip
    batch_size: int = setting(100, "images a step; the images left over sit out that epoch", "optimization",
                              interval="[1, 50000]")  # fmt: skip
    seed: int = setting(
        0, "every random number is a function of the seed and the step", "optimization", interval="[0, 2147483647]"
    )
    optimizer: str = setting("sgd", "sgd (Nesterov momentum), adam, adamw or muon", "optimization", OPTIMIZERS)
    learning_rate: float = setting(0.04, "the peak of the schedule", "optimization", interval="(0, 1e9]")
    momentum: float = setting(0.9, "sgd and muon: the fraction of the velocity that is kept", "optimization",
                              interval="[0, 1)")  # fmt: skip
    muon_rate: float = setting(0.24, "muon: the peak learning rate of the convolutions", "optimization",
                               interval="(0, 1e9]")  # fmt: skip
    warmup: float = setting(0.1, "the fraction of all steps in which the learning rate rises to its peak",
                            "optimization", interval="[0, 1)")  # fmt: skip
    final_rate: float = setting(
        0.0, "where the decay ends, one step after the last, as a fraction of the peak; 1: no decay", "optimization",
        interval="[0, 1]",
    )  # fmt: skip
    weight_average: float = setting(
        0.0, "end at the mean of the weights over this fraction of all steps, the last ones; 0: off", "optimization",
        interval="[0, 1]",
    )  # fmt: skip

    # Regularization.
    weight_decay: float = setting(
        1e-3, "of kernels only; sgd and muon: L2, added to the gradient; adamw: decoupled", "regularization",
        interval="[0, 1e9]",
    )  # fmt: skip
    label_smoothing: float = setting(
        0.0, "probability moved from the true class to all ten alike", "regularization", interval="[0, 1)"
    )
    flip: str = setting(
        "none", "mirror training images: none, random (probability 1/2), or alternating (every second epoch)",
        "regularization", FLIPS,
    )  # fmt: skip
    crop: int = setting(
        0, "shift training images by up to this many pixels, reflecting at the edge", "regularization",
        interval="[0, 8]",
    )  # fmt: skip
    test_time_augmentation: bool = setting(
        False, "after the last step also evaluate the mean over six views of each image", "regularization"
    )

    # Speed.
    device: str = setting("auto", "auto, cpu, gpu or gpu:K", "speed", pattern=r"auto|cpu|gpu(:\d{1,3})?")
    devices: int = setting(
        1, "devices that take each step together, each on its rows of the batch: GPUs, or parts of the processor",
        "speed", interval="[1, 64]",
    )  # fmt: skip
    precision: str = setting(
        "auto", "the dtype of the layers' arithmetic; weights and loss stay float32. auto: the faster one here",
        "speed", PRECISIONS,
    )  # fmt: skip
    threads: int = setting(
        0, "processor threads; 0: all. Another number changes the last bits", "speed", interval="[0, 256]"
    )
    micro_batches: int = setting(
        0, "parts of a batch that pass the convolutions side by side; batch norm normalizes each by itself. 0: chosen "
        "for this machine, 1 with batch norm", "speed", interval="[0, 64]",
    )  # fmt: skip
    kernels: str = setting(
        "auto", "how the layers are computed: textbook, or fast: the same functions from core/speed/. auto: what is "
        "measured to be faster on this machine; textbook with --eager", "speed", KERNELS,
    )  # fmt: skip
    eager: bool = setting(False, "run the step line by line instead of as a compiled graph", "speed")

    # Diagnostics.
    diagnostics: str = setting("light", "what is measured of the network: off, light or full", "diagnostics",
                               DIAGNOSTICS)  # fmt: skip
    diagnostics_budget: float = setting(
        0.0, "percentage of the step time that diagnostics may take; their intervals are chosen from their measured "
        "cost. 0: fixed intervals", "diagnostics", interval="[0, 100]",
    )  # fmt: skip
    tensorboard: bool = setting(False, "also write event files (tensorboard --logdir runs/tensorboard)", "diagnostics")

    evaluate_every: int = setting(
        0, "also evaluate every this many steps; 0: only at the end of each epoch", "diagnostics",
        interval="[0, 10000000]",
    )  # fmt: skip

    # Bookkeeping.
    checkpoint_every: int = setting(
        0, "also save a checkpoint every this many steps; 0: only at the end of each epoch", "bookkeeping",
        interval="[0, 10000000]",
    )  # fmt: skip
    keep_checkpoints: int = setting(
        10, "how many of the newest checkpoints stay on disk", "bookkeeping", interval="[2, 1000000]"
    )

    def outside(self) -> list[str]:
        """A sentence for each setting whose value is not one that its field accepts."""
        return [
            f"{option(field.name)} {shown(getattr(self, field.name))}: expected {wanted}"
            for field in dataclasses.fields(self)
            if (wanted := expected(getattr(self, field.name), field))
        ]

    def problems(self) -> list[str]:
        """Everything that is wrong with these settings, one sentence each; empty when they can be run."""
        if found := self.outside():
            return found
        if self.micro_batches > self.batch_size:
            found.append(f"--micro-batches {self.micro_batches}: expected at most --batch-size {self.batch_size}")
        if self.batch_size % self.devices:
            found.append(f"--devices {self.devices}: expected a number that divides --batch-size {self.batch_size}")
        elif self.devices > 1 and (
            self.micro_batches % self.devices or not (self.micro_batches or self.network in WITHOUT_BATCH_NORM)
        ):
            found.append(
                f"--devices {self.devices}: expected a number that divides --micro-batches {self.micro_batches or 1}; "
                f"with --micro-batches {self.devices} batch norm, if there is one, normalizes each device's images by "
                "themselves"
            )
        if self.diagnostics == "off" and self.diagnostics_budget:
            found.append(
                f"--diagnostics off and --diagnostics-budget {self.diagnostics_budget:g}: give only one of them"
            )
        if self.optimizer == "adam" and self.weight_decay:
            found.append(f"--weight-decay {self.weight_decay:g}: adam has none; use --optimizer adamw")
        # `auto` may still turn out to be shapes10; then the data set itself checks again.
        available = train_images("cifar10" if self.data == "auto" else self.data, self.holdout)
        if self.train_images > available:
            found.append(f"--train-images {self.train_images}: more than the {available:,} that there are")
        available = self.train_images or available
        if self.batch_size > available:
            found.append(f"--batch-size {self.batch_size}: larger than the {available:,} training images there are")
        return found


def expected(value, field: dataclasses.Field) -> str:
    """What was expected instead of `value`, in words; empty when the field accepts it."""
    accepted = field.metadata
    if field.type is bool:
        return "" if isinstance(value, bool) else "true or false"
    if field.type is str:
        if not isinstance(value, str):
            return "text"
        if accepted["choices"] and value not in accepted["choices"]:
            return one_of(value, accepted["choices"])
        if accepted["pattern"] and not re.fullmatch(accepted["pattern"], value):
            return accepted["text"]
        return "" if value.isprintable() else "printable text on one line"
    kinds = (int,) if field.type is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not inside(value, accepted["interval"]):
        return in_words(accepted["interval"], "a whole number" if field.type is int else "a number")
    return ""


def ends_of(interval: str) -> tuple[float, float]:
    """(0.0, 1.0) for "[0, 1)"."""
    low, high = interval[1:-1].split(",")
    return float(low), float(high)


def inside(value: float, interval: str) -> bool:
    """Whether a number lies in an interval such as "[0, 1)" or "(0, 1e9]"; NaN lies in none."""
    low, high = ends_of(interval)
    above = value > low or (interval[0] == "[" and value == low)
    below = value < high or (interval[-1] == "]" and value == high)
    return above and below


def in_words(interval: str, kind: str) -> str:
    """`a whole number, 1 to 100000` for "[1, 100000]"; half-open intervals stay as they are written."""
    if interval[0] == "[" and interval[-1] == "]":
        low, high = interval[1:-1].split(", ")
        return f"{kind}, {low} to {high}"
    return f"{kind} in {interval}"


def option(name: str) -> str:
    """How a setting is written on the command line: --batch-size for batch_size."""
    return "--" + name.replace("_", "-")


def shown(value) -> str:
    """A value as an error message quotes it: on one line, at most 40 characters, control characters escaped."""
    text = str(value)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= 40 else text[:37] + "..."


def train_images(data: str, holdout: bool) -> int:
    """How many training images a data set has."""
    return TRAIN_IMAGES[data] - (HOLDOUT_IMAGES[data] if holdout else 0)


def one_of(given: str, choices) -> str:
    """`one of a, b, c`, and the nearest of them when `given` looks like a typing mistake."""
    near = difflib.get_close_matches(str(given), [str(choice) for choice in choices], n=1)
    return f"one of {', '.join(choices)}" + (f" (did you mean {near[0]}?)" if near else "")
