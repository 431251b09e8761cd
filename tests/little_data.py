"""train_loop.py on a shapes10 of 1,000 training images and 200 test images; its options are those of train_loop.py.

python tests/little_data.py --recipe debug --no-eager --batch-size 50     20 steps an epoch
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import train_loop
from core.data import DataSet, shapes10
from core.run import signals, start
from core.settings import command_line

if __name__ == "__main__":
    invocation = command_line.parse()
    signals.exit_quietly_on_interrupt("train_loop.py")
    images = *shapes10.draw(100, seed=1), *shapes10.draw(20, seed=2)
    start.load = lambda *given: DataSet("shapes10", shapes10.CLASSES, *images, fingerprint="little")
    sys.exit(train_loop.main(invocation))
