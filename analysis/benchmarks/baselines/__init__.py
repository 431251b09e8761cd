"""Other people's training programs, for comparison: Keras `fit`, a PyTorch loop, airbench94."""
