"""What a run says to a question of a lesson: numbers, the name of a layer, or a curve. No TensorFlow.

A measure is a function Run -> number or text, or for a curve (Run, x [P]) -> values [P]; accuracies are percentages.
It raises NotMeasured when the run does not have it.
"""

from pathlib import Path

import numpy as np

from analysis.support.questions import Question
from analysis.support.run import NotMeasured, Run
from core.run import run_folder
from core.run.errors import RunError


def initial_loss(run: Run) -> float:
    """The loss of the first batch, before any update; in nats."""
    run.need_steps(1)
    return float(run.steps["loss"][0])


def one_class_accuracy(run: Run) -> float:
    """The accuracy of the best prediction that is the same class for every test image; in percent."""
    counts = run.fact("data", "test_class_counts")
    return 100 * max(counts) / sum(counts)


def last_loss(run: Run) -> float:
    """The mean loss of the last tenth of the steps; in nats."""
    run.need_steps(10)
    return float(np.mean(run.steps["loss"][-run.length // 10 :]))


def loss_scatter(run: Run) -> float:
    """The standard deviation of the batch losses around their trend, over the last half of the steps; in nats."""
    run.need_steps(40)
    losses = run.steps["loss"][-run.length // 2 :]
    return float(np.std(np.diff(losses)) / np.sqrt(2))


def test_accuracy(run: Run) -> float:
    """The test accuracy of the last evaluation; in percent."""
    return 100 * float(run.evaluations()["test_accuracy"][-1])


def train_accuracy(run: Run) -> float:
    """The accuracy on training images at the last evaluation; in percent."""
    return 100 * float(run.evaluations()["train_accuracy"][-1])


def gap(run: Run) -> float:
    """Train accuracy minus test accuracy at the last evaluation; in points."""
    return train_accuracy(run) - test_accuracy(run)


def epoch_of_lowest_test_loss(run: Run) -> float:
    """The epoch after which the test loss is lowest."""
    found = run.evaluations()
    return float(found["epoch"][np.argmin(found["test_loss"])])


def accuracy_since_turn(run: Run) -> float:
    """How the test accuracy changes from the epoch with the lowest test loss to the last; in points."""
    found = run.evaluations()
    return 100 * float(found["test_accuracy"][-1] - found["test_accuracy"][np.argmin(found["test_loss"])])


def parameters_of_first_convolution(run: Run) -> float:
    """Weights and biases of the first convolution of the network."""
    layers = [layer for layer in run.fact("architecture") if layer.get("layer") == "Convolution"]
    if not layers:
        raise NotMeasured("its network has no convolution")
    first = layers[0]
    weights = first["kernel_size"] ** 2 * first["in_channels"] * first["out_channels"]
    return float(weights + first["out_channels"] * first["use_bias"])


def steps_that_lower_the_loss(run: Run) -> float:
    """Of the measured steps, those after which the loss of the same batch is lower; in percent."""
    _, change = run.of_network("actual_change")
    return 100 * float(np.mean(change < 0))


def steps_with_a_lower_loss(run: Run) -> float:
    """Of all steps but the first, those whose batch loss is lower than that of the step before; in percent."""
    run.need_steps(10)
    return 100 * float(np.mean(np.diff(run.steps["loss"]) < 0))


def step_milliseconds(run: Run) -> float:
    """The median time of a step after the first, in which the graph is traced; in milliseconds."""
    run.need_steps(3)
    return 1000 * float(np.median(run.timing["step_seconds"][1:]))


def steps_taken(run: Run) -> float:
    """Steps whose loss is finite."""
    return float(np.isfinite(run.steps["loss"]).sum())


def megaflops(run: Run) -> float:
    """Floating-point operations of the forward pass of one image; in millions."""
    return run.fact("forward_flops_per_image") / 1e6


def update_ratio(run: Run) -> float:
    """The median over layers and measured steps of the length of the update over that of the weights."""
    return float(np.median(run.table("update_ratio").values))


def gradient_cosine(run: Run) -> float:
    """The median over layers and measured steps of the cosine between one step's gradient and the next one's."""
    values = run.table("gradient_cosine").values
    return float(np.median(values[np.isfinite(values)]))


def noise_scale(run: Run) -> float:
    """The gradient noise scale over the second half of the run: mean(S) / mean(G2); in images."""
    (steps, squared), (_, variance) = run.of_network("noise_g2", 2), run.of_network("noise_s", 2)
    late = steps > run.length / 2
    if not late.any() or np.mean(squared[late]) <= 0:
        raise NotMeasured("the gradient noise was measured too rarely")
    return float(np.mean(variance[late]) / np.mean(squared[late]))


def layer_with_most_dead_channels(run: Run) -> str:
    """The layer with the largest fraction of dead channels at the last measurement, or "none"."""
    table = run.table("dead_channels")
    return table.layers[int(np.argmax(table.values[-1]))] if table.values[-1].max() > 0 else "none"


def layer_with_smallest_first_gradient(run: Run) -> str:
    """The kernel with the smallest root mean square gradient at the first measured step."""
    table = run.table("gradient_rms")
    return table.layers[int(np.argmin(table.values[0]))]


def traces(run: Run) -> float:
    """The most that any compiled function was traced."""
    return float(run.of_network("traces")[1].max())


def pool_gradient_zeros(run: Run | None = None) -> float:
    """Of the inputs of a 2x2 max-pooling with stride 2, those whose gradient is 0; in percent. Needs no run.

    Computed by its definition: the gradient of a window goes to its largest input.
    """
    x = np.random.default_rng(0).standard_normal((8, 8))
    largest = x.reshape(4, 2, 4, 2).max(axis=(1, 3), keepdims=True)
    return 100 * float(np.mean(x.reshape(4, 2, 4, 2) != largest))


def loss_at(run: Run, at: np.ndarray) -> np.ndarray:
    """The batch loss around these steps: the mean of the ten steps up to each; in nats."""
    run.need_steps(int(max(at)))
    return np.array([np.mean(run.steps["loss"][max(int(step) - 10, 0) : int(step)]) for step in at])


def of_epochs(column: str, scale: float = 1):
    """A measure: a column of epochs.csv after these epochs; --evaluate-every adds evaluations within them."""

    def after(run: Run, at: np.ndarray) -> np.ndarray:
        found = run.evaluations()
        ends = found["step"] % run.steps_per_epoch == 0
        found = {name: values[ends] for name, values in found.items()}
        lacking = set(map(int, at)) - set(found["epoch"].tolist())
        if lacking:
            raise NotMeasured(f"it takes an evaluation after epoch {min(lacking)}")
        return scale * found[column][np.searchsorted(found["epoch"], at)]

    return after


NUMBERS = (
    initial_loss, one_class_accuracy, last_loss, loss_scatter, test_accuracy, train_accuracy, gap,
    epoch_of_lowest_test_loss, accuracy_since_turn, parameters_of_first_convolution, steps_that_lower_the_loss,
    steps_with_a_lower_loss, step_milliseconds, steps_taken, megaflops, update_ratio, gradient_cosine, noise_scale,
    traces, pool_gradient_zeros,
)  # fmt: skip
NAMES = (layer_with_most_dead_channels, layer_with_smallest_first_gradient)
CURVES = {
    "loss_at": loss_at,
    "test_loss_after": of_epochs("test_loss"),
    "train_loss_after": of_epochs("train_loss"),
    "test_accuracy_after": of_epochs("test_accuracy", 100),
}
MEASURES = {function.__name__: function for function in (*NUMBERS, *NAMES)} | CURVES
WITHOUT_RUN = ("pool_gradient_zeros",)
RECORDED = Path(__file__).resolve().parents[2] / "docs" / "recorded"


def find_run(names: str, runs_dir: Path) -> Run:
    """A run of one's own with one of these names, or the first recorded one. Raises RunError."""
    for folder in (runs_dir, RECORDED):
        for name in names.split():
            if (folder / name / run_folder.CONFIG).is_file():
                return Run(folder / name)
    raise RunError(f"{names.replace(' ', ' or ')}: no such run in {runs_dir}; train it as the lesson says")


def measured(question: Question, runs_dir: Path):
    """(the right answer, the runs it is measured on): a number, the index of an option, or an array.

    Raises RunError when a run is not there, NotMeasured when it does not have what is asked.
    """
    if question.known is not None:
        return question.known, [find_run(question.run, runs_dir)]
    measure = MEASURES.get(question.measure)
    if measure is None:
        raise RunError(f"question {question.name}: measure {question.measure!r}: expected one of {', '.join(MEASURES)}")
    if question.runs:
        runs = [find_run(name, runs_dir) for name in question.runs]
        values = [measure(run) for run in runs]
        return int((np.argmin if question.pick == "lowest" else np.argmax)(values)), runs
    if question.measure in WITHOUT_RUN:
        return option_of(question, measure()), []
    run = find_run(question.run, runs_dir)
    if question.kind == "curve":
        return measure(run, np.array(question.at)), [run]
    return option_of(question, measure(run)), [run]


def option_of(question: Question, value):
    """The index of the option that a measured value means; of a number the value itself. Raises NotMeasured."""
    if question.kind != "choice":
        return value
    if question.limits:
        return int(np.searchsorted(question.limits, value, side="right"))
    if value in question.options:
        return question.options.index(value)
    raise NotMeasured(f"the run gives {value!r}, which is none of the options")
