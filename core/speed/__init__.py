"""Second floor: what only the speed recipes need, and faster implementations of textbook layers.

Nothing in core/layers/ or train_loop.py depends on it; core/build.py chooses it.

    whitening, scale, networks      the architecture of the speed records
    muon, weight_average            how they are optimized
    micro_batches                   a batch in parts that pass the convolutions side by side
    kernels                         replaces layers by convolution, batch_norm and gelu, which compute the same function
    test_time_augmentation          the evaluation of several views of an image
"""
