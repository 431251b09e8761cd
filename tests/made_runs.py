"""Runs made of formulas, for tests of what reads runs: a clean one as arrays, in which a test makes a fault."""

import numpy as np

from analysis.diagnosis.detectors.code import schedule
from analysis.support.run import Run
from core.run import logs, run_folder

KERNELS = {"conv1": 864, "conv2": 18_432, "dense": 5_120}  # weights in each
FORWARD = ("conv1", "relu1", "conv2", "relu2", "dense")
ARCHITECTURE = (("Convolution", "conv1"), ("ReLU", "relu1"), ("Convolution", "conv2"), ("ReLU", "relu2"),
                ("Dense", "dense"))  # fmt: skip
INITIAL_NORMS = {"conv1": 7.8, "conv2": 11.3, "dense": 0.3}  # of the kernels


class MadeRun:
    """A clean run of some epochs of 100 steps, all of it in arrays that a test may change."""

    def __init__(self, epochs: int = 7, per_epoch: int = 100, seed: int = 0):
        draw = np.random.default_rng(seed)
        total = epochs * per_epoch
        t = np.arange(1, total + 1)
        clean = 0.5 + 1.8 * np.exp(-t / 150)  # from about ln 10 down to 0.5
        self.per_epoch = per_epoch
        self.config = {
            "run": "it", "steps_per_epoch": per_epoch, "total_steps": total, "precision": "float32",
            "architecture": [{"layer": kind, "name": name} for kind, name in ARCHITECTURE],
            "settings": {"recipe": "classic", "holdout": False, "batch_size": 100, "optimizer": "sgd", "seed": 0,
                         "momentum": 0.9, "weight_decay": 0.0,
                         "learning_rate": 0.04, "warmup": 0.1, "final_rate": 0.0, "label_smoothing": 0.0,
                         "precision": "float32", "data": "shapes10", "epochs": epochs, "steps": 0},
            "data": {"title": "made of formulas", "train_images": 100 * per_epoch, "test_images": 10_000,
                     "class_names": [f"kind{k}" for k in range(10)], "train_class_counts": [10 * per_epoch] * 10,
                     "test_class_counts": [1_000] * 10, "test_images_in_training": 0},
        }  # fmt: skip
        self.steps = {
            "step": t,
            "epoch": (t - 1) // per_epoch + 1,
            "loss": clean * np.exp(0.08 * draw.standard_normal(total)),
            "accuracy": np.clip(0.92 - 0.455 * (clean - 0.5) + 0.03 * draw.standard_normal(total), 0, 1),
            "learning_rate": schedule(t.astype(float), total, 0.04, 0.1, 0.0),
            "gradient_norm": 1 + 0.2 * draw.random(total),
        }
        self.steps["loss"][0] = 2.31
        at = t[per_epoch - 1 :: per_epoch]
        train = 0.45 + 1.8 * np.exp(-at / 150)
        self.evaluations = {
            "epoch": np.arange(1, epochs + 1),
            "step": at,
            "train_loss": train,
            "train_accuracy": 0.93 - 0.45 * (train - 0.45),
            "test_loss": train + 0.1,
            "test_accuracy": 0.88 - 0.42 * (train - 0.45),
            "train_calibration_error": np.full(epochs, 0.02),
            "test_calibration_error": np.full(epochs, 0.03),
        }
        norms = t[(t <= 100) | (t % 10 == 0)]
        rate = self.steps["learning_rate"][norms - 1] / 0.04
        self.layers = {}  # {quantity: {layer: (steps, values)}}

        def of_kernels(quantity, value):
            self.layers[quantity] = {layer: (norms, value(layer)) for layer in KERNELS}

        noise = {layer: 0.4 + 0.2 * draw.random(len(norms)) for layer in KERNELS}
        of_kernels("gradient_norm", lambda layer: noise[layer])
        of_kernels("gradient_rms", lambda layer: noise[layer] / KERNELS[layer] ** 0.5)
        of_kernels("weight_norm", lambda layer: INITIAL_NORMS[layer] * (1 + norms / total))
        of_kernels("update_ratio", lambda layer: 5e-3 * rate)
        for layer in KERNELS:  # the first update is that of SGD: rate x (1 + momentum) x gradient
            first = self.steps["learning_rate"][0] * 1.9 * noise[layer][0]
            self.layers["update_ratio"][layer][1][0] = first / self.layers["weight_norm"][layer][1][0]
        of_kernels("first_order_change", lambda layer: -1e-3 * rate)
        of_kernels("distance", lambda layer: norms / total)
        of_kernels("gradient_cosine", lambda layer: np.where(norms > 1, 0.1, 0.0))
        measurements = np.concatenate([[0], at])
        for quantity, value in (("activation_mean", 0.3), ("activation_std", 1.0), ("sparsity", 0.4)):
            self.layers[quantity] = {layer: (measurements, np.full(len(measurements), value)) for layer in FORWARD}
        self.layers["sparsity"]["dense"][1][:] = 0  # logits
        self.layers["dead_channels"] = {x: (measurements, np.full(len(measurements), 0.02)) for x in ("relu1", "relu2")}
        self.layers["evaluation_disagreement"] = {"network": (at, np.full(epochs, 1e-7))}
        self.layers["traces"] = {"network": (at, np.ones(epochs))}
        # Predictions, better from epoch to epoch: [E,K,K], 1,000 test images a class.
        self.confusions = np.stack([self.confusion(a) for a in self.evaluations["test_accuracy"]])

    @staticmethod
    def confusion(accuracy: float) -> np.ndarray:
        """Counts [K,K] of an evaluation with this accuracy whose errors are spread evenly."""
        counts = np.full((10, 10), round(1000 * (1 - accuracy)) // 9)
        np.fill_diagonal(counts, 0)
        np.fill_diagonal(counts, 1000 - counts.sum(axis=1))
        return counts

    def cut(self, step: int) -> "MadeRun":
        """The same run, interrupted after this step."""
        for table in (self.steps, self.evaluations):
            kept = table["step"] <= step
            table.update({name: values[kept] for name, values in table.items()})
        self.layers = {
            quantity: {layer: (at[at <= step], values[at <= step]) for layer, (at, values) in of.items()}
            for quantity, of in self.layers.items()
        }
        self.confusions = self.confusions[: len(self.evaluations["step"])]
        return self

    def write(self, runs_dir, name: str = "it") -> Run:
        """Write the folder and read it back."""
        folder = run_folder.create(runs_dir, name)
        run_folder.write_config(folder, self.config | {"run": name})
        log = logs.Logs(folder)
        for file, table in ((logs.STEPS, self.steps), (logs.EPOCHS, self.evaluations)):
            for row in zip(*(table[column].tolist() for column in logs.COLUMNS[file])):
                log.append(file, row)
        for step in self.steps["step"].tolist():
            log.append(logs.TIMING, [step, 0.01, 0.01 * step, 0.0])
        rows = [
            (step, layer, quantity, value)
            for quantity, of in self.layers.items()
            for layer, (steps, values) in of.items()
            for step, value in zip(steps.tolist(), values.tolist())
        ]
        log.layers(sorted(rows, key=lambda row: row[0]))
        for step, counts in zip(self.evaluations["step"].tolist(), self.confusions.tolist()):
            for i, row in enumerate(counts):
                for j, count in enumerate(row):
                    log.append(logs.PREDICTIONS, [step, i, j, count])
        log.close()
        run_folder.point_latest(runs_dir, name)
        return Run(folder)
