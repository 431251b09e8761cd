"""How long does an all-reduce take? One of several worker processes, which measure it together.

    TF_CONFIG=... python analysis/benchmarks/measure_all_reduce.py 1000 1000000

Arguments: how many numbers in float32, once for each size. Worker 0 prints {numbers: [seconds]} as JSON. The process is
started by scaling.py, as many times as there are workers, each with its own $TF_CONFIG.
"""

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core import devices
from core.run import workers

WARM_UP, TIMES = 3, 15
LINGER = 0.5  # seconds: numbers that are still on their way would end with this process


def measure(counts: list[int]) -> dict[int, list[float]]:
    """{numbers: seconds of each all-reduce of so many}. The workers begin each together, because the last one waits."""
    tf = devices.import_tensorflow()
    from core import replicas

    devices.configure(threads=2)
    replicas.connect()
    found = {}
    with replicas.placed_on(0, ""):
        for count in counts:
            function = replicas.on_every_replica(lambda given: replicas.total(given)[:1], tf.ones([count]))
            all_reduce = tf.function(function, autograph=False)
            found[count] = [seconds_of(all_reduce) for _ in range(WARM_UP + TIMES)][WARM_UP:]
    return found


def seconds_of(function) -> float:
    """The seconds of one call, until its result is there."""
    began = time.perf_counter()
    function().numpy()
    return time.perf_counter() - began


def main(*counts: str) -> None:
    """Measure; the first worker prints."""
    found = measure([int(count) for count in counts])
    if workers.from_environment().index == 0:
        print(json.dumps(found), flush=True)
    time.sleep(LINGER)


if __name__ == "__main__":
    main(*sys.argv[1:])
