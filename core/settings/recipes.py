"""The recipes: named sets of settings, each with the network and the schedule that belong together."""

from core.settings.settings import Settings

# What each optimizer starts from when it is named on the command line without a learning rate.
OPTIMIZER_DEFAULTS = {
    "sgd": {"learning_rate": 0.04, "weight_decay": 1e-3},
    "adam": {"learning_rate": 1e-3, "weight_decay": 0.0},
    "adamw": {"learning_rate": 1e-3, "weight_decay": 0.01},
    "muon": {"learning_rate": 2.0, "weight_decay": 1e-3},
}

# What `minute`, `five` and `fast` share: the parts of the speed records (Jordan 2024; docs/speed.md).
SPEED_PARTS = {
    "activation": "gelu", "optimizer": "muon", "learning_rate": 2.0, "muon_rate": 0.14, "momentum": 0.65,
    "weight_decay": 1e-3, "warmup": 0.0, "label_smoothing": 0.2, "flip": "alternating",
    "crop": 2, "test_time_augmentation": True,
}  # fmt: skip

# What a recipe does not name is the default in settings.py.
RECIPES = {
    # The textbook network: (convolution, ReLU, max-pooling) three times, then two dense layers. No
    # batch norm, no augmentation.
    "classic": Settings(),
    # What the ten years after it added: batch norm, augmentation, label smoothing.
    "modern": Settings(
        recipe="modern", network="modern", epochs=12, batch_size=125, learning_rate=0.1,
        weight_decay=1e-3, warmup=0.2, label_smoothing=0.1, flip="alternating", crop=2,
    ),
    # The speed records' network in three sizes, for about one, five and eleven minutes on two cores. The
    # micro-batches are written down: with batch norm they change what is computed.
    "minute": Settings(
        recipe="minute", network="speed64", epochs=3, batch_size=500, micro_batches=4, final_rate=0.07, **SPEED_PARTS
    ),
    "five": Settings(recipe="five", network="speed192", epochs=6, batch_size=1000, micro_batches=8, **SPEED_PARTS),
    "fast": Settings(
        recipe="fast", network="airbench94", epochs=8, batch_size=1000, micro_batches=8, weight_average=0.2,
        **SPEED_PARTS,
    ),
    # Small enough to step through: 5,370 parameters, eight drawn images at a time.
    "debug": Settings(
        recipe="debug", network="debug", data="shapes10", epochs=1, steps=20, batch_size=8,
        learning_rate=0.01, weight_decay=0.0, precision="float32", eager=True,
    ),
}  # fmt: skip
