"""Which programs of other people the baselines follow. No TensorFlow, no PyTorch."""

REPOSITORY = "github.com/KellerJordan/cifar10-airbench at commit f1c599c"
AIRBENCH = {  # version: what it is
    "airbench94": f"legacy/airbench94.py of {REPOSITORY}: Nesterov SGD and lookahead",
    "airbench94_muon": f"airbench94_muon.py of {REPOSITORY}: Muon",
}
KERAS = "keras_tutorial"
BASELINES = AIRBENCH | {KERAS: "the network and training of TensorFlow's CNN tutorial, with Keras fit"}
