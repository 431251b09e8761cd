"""The training code: layers, networks, data, optimizers, measurements, runs. Imports nothing from above it."""
