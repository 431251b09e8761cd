"""What is wrong with a run: detectors, advice and experiments, and the fault collection they are scored on."""
