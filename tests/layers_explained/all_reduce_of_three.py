"""core/replicas.py on three devices, or as one of three processes: what it makes of tensors that are given.

python tests/layers_explained/all_reduce_of_three.py GIVEN.npz FOUND.npz           three parts of the processor
TF_CONFIG=... python tests/layers_explained/all_reduce_of_three.py GIVEN.npz FOUND.npz     one of three processes

GIVEN has arrays [3,...], a row for each replica; FOUND gets the mean of each and, as `...-total`, its sum.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from core import devices, replicas

tf = devices.import_tensorflow()
devices.configure(threads=2, devices=1 if "TF_CONFIG" in os.environ else 3)
if "TF_CONFIG" in os.environ:
    replicas.connect()
given = dict(np.load(sys.argv[1]))


def step(rows):
    """The mean and the sum of this replica's row and those of the others."""
    mine = {
        name: tf.gather(row, tf.distribute.get_replica_context().replica_id_in_sync_group) for name, row in rows.items()
    }
    return replicas.mean(mine), replicas.total(mine)


with replicas.placed_on(3, "/CPU:0"):
    strategy = tf.distribute.get_strategy()
    outcome = tf.function(lambda: strategy.run(step, [given]), autograph=False)()
    copies = [tf.nest.map_structure(lambda value: strategy.experimental_local_results(value), part) for part in outcome]
means, totals = copies
found = {name: [copy.numpy() for copy in values] for name, values in means.items()}
found |= {f"{name}-total": [copy.numpy() for copy in values] for name, values in totals.items()}
assert all(np.array_equal(values[0], value) for values in found.values() for value in values)
np.savez(sys.argv[2], **{name: values[0] for name, values in found.items()})
time.sleep(0.5)  # numbers that are still on their way would end with this process
