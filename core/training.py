"""What a training consists of, all of it on the device. train_loop.prepare builds it; train_step uses it."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from core.data import DataSet
from core.data.batches import Batches
from core.measure.probes import LayerProbe
from core.model import CNN
from core.optimizers import SGD, Adam
from core.settings.settings import Settings
from core.speed.weight_average import WeightAverage


@dataclass
class Training:
    """The parts of a training, and its functions as they are called: compiled, or plain Python with --eager."""

    settings: Settings
    data: DataSet
    batches: Batches
    network: CNN
    optimizer: SGD | Adam
    learning_rate: Callable  # step -> [] float32
    layer_probe: LayerProbe
    weight_average: WeightAverage
    total_steps: int
    step: Callable = None  # step -> (metrics, layer quantities): train_step
    evaluate_batch: Callable = None  # images, labels -> sums: core/measure/evaluation.py
    evaluate_augmented_batch: Callable = None  # the same with test-time augmentation

    def __post_init__(self):
        self.state = self.named_state()
        self.initial_state = {name: variable.numpy() for name, variable in self.state.items()}

    def named_state(self) -> dict[str, tf.Variable]:
        """{name: variable} of everything a checkpoint holds: the network's variables, then what belongs to them."""
        names = {id(variable): name for name, variable in self.network.named_variables.items()}
        owners = (
            (self.optimizer, self.optimizer.parameters),
            (self.weight_average, self.weight_average.averaged),
            (self.layer_probe, self.layer_probe.kernels),
        )
        return self.network.named_variables | {
            f"{kind}/{names[id(variable)]}": value  # velocity/conv1/kernel
            for owner, variables in owners
            for kind, values in owner.state().items()
            for variable, value in zip(variables, values)
        }

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch, or the training, ends with this step."""
        return step > 0 and (step % self.batches.steps_per_epoch == 0 or step == self.total_steps)

    def evaluates_after(self, step: int) -> bool:
        """Whether the network is evaluated after this step: at the end of an epoch, every --evaluate-every steps."""
        every = self.settings.evaluate_every
        return self.ends_epoch(step) or bool(every and step > 0 and step % every == 0)

    def trace_counts(self) -> list[int]:
        """How often each function was traced; empty with --eager."""
        functions = (self.step, self.evaluate_batch)
        return [f.experimental_get_tracing_count() for f in functions if hasattr(f, "experimental_get_tracing_count")]
