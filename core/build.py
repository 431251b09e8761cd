"""From the settings to a network and an optimizer: the textbook's, or those of core/speed/."""

import os

import tensorflow as tf

from core import architecture, model, variants
from core.data import DataSet, augmentation
from core.data.batches import Batches, standardize
from core.model import CLASSES, CNN, IMAGE_SHAPE
from core.optimizers import SGD, Adam
from core.settings.settings import SPEED_NETWORKS
from core.speed import augmentation as fast_augmentation
from core.speed import kernels, networks
from core.speed.measured_kernels import MeasuredChoice
from core.speed.micro_batches import MicroBatchedCNN
from core.speed.muon import Muon
from core.speed.whitening import Whitening

WHITENING_IMAGES = 5_000


def build_batches(data: DataSet, settings) -> Batches:
    """The batches that the settings name, flipped and cropped by the faster functions unless --kernels textbook."""
    return Batches(data, settings, augmentation if settings.kernels == "textbook" else fast_augmentation)


def build_network(settings, dtype=tf.float32, images=None, stored: dict | None = None) -> CNN:
    """The network that the settings name, its weights drawn from their seed.

    images: training images uint8 [N,32,32,3] from which a whitening layer computes its filters; without them it
    keeps random ones (enough to count parameters, or before a checkpoint is restored). stored: the config.json of a
    run, whose architecture and kernels are taken; core/model.py may describe another network by now. Afterwards
    `network.architecture` is the architecture as data, `network.replaced` names what core/speed/kernels.py replaced,
    and `network.kernel_milliseconds` holds what was measured to choose it.
    """
    compute_dtype = tf.bfloat16 if settings.precision == "bfloat16" and dtype == tf.float32 else dtype
    if stored and "architecture" in stored:
        layers = architecture.rebuilt(stored["architecture"], settings.seed, dtype)
    elif settings.network in SPEED_NETWORKS:
        layers = networks.build_layers(settings, dtype)
    elif settings.network == "plain":
        layers = variants.plain(settings, dtype)
    else:
        layers = model.NETWORKS[settings.network](settings.seed, dtype)
    if images is not None and isinstance(layers[0], Whitening):
        layers[0].compute_filters(standardize(images))
    own_architecture = architecture.description(layers)
    choose = chosen_kernels(settings, stored)
    replaced = kernels.replace_layers(layers, IMAGE_SHAPE, compute_dtype, choose) if choose else {}
    if settings.micro_batches > 1:
        network = MicroBatchedCNN(settings.network, layers, compute_dtype, settings.micro_batches)
    else:
        network = CNN(settings.network, layers, compute_dtype)
    check_shapes(network)
    network.architecture, network.replaced = own_architecture, replaced
    network.kernel_milliseconds = getattr(choose, "milliseconds", {})
    return network


def chosen_kernels(settings, stored: dict | None):
    """How kernels.replace_layers chooses: as a run did before, by measurement, by rule; None for the textbook."""
    if settings.kernels == "textbook":
        return None
    if stored and "kernels" in stored:
        names = stored["kernels"]
        return lambda candidates, shape, dtype: names.get(candidates[kernels.TEXTBOOK].name, kernels.TEXTBOOK)
    if settings.kernels == "auto":
        images = -(-settings.batch_size // max(settings.micro_batches, 1))
        return MeasuredChoice(images, settings.threads or os.cpu_count())
    return kernels.by_rule


def check_shapes(network: CNN) -> None:
    """Raise ValueError, naming the layer, unless every layer fits the one before it and the last gives K logits."""
    network(tf.zeros([1, *IMAGE_SHAPE]), training=False)
    *_, (layer, shape) = network.shapes()
    if layer.output_shape(shape) != (CLASSES,):
        raise ValueError(
            f"network '{network.name}': expected {CLASSES} logits, found shape {list(layer.output_shape(shape))} after "
            f"the last layer '{layer.name}'"
        )


def build_optimizer(settings, parameters: list[tf.Variable]) -> SGD | Adam | Muon:
    """The optimizer that the settings name."""
    if settings.optimizer in ("adam", "adamw"):
        return Adam(parameters, weight_decay=settings.weight_decay)
    if settings.optimizer == "muon":
        rate_ratio = settings.muon_rate / settings.learning_rate
        return Muon(parameters, settings.momentum, settings.weight_decay, rate_ratio)
    return SGD(parameters, settings.momentum, settings.weight_decay)
