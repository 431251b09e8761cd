"""What is measured of a network: evaluation on whole data sets, probes during training, and how often."""
