"""What the training story is told with: layers, data, optimizers, runs. Imports nothing from above it."""
