"""Worker processes: each gets its place in the cluster, and all are ended when one fails."""

import json
import time

import pytest

from analysis.benchmarks import worker_processes
from core.run.errors import RunError


@pytest.fixture
def script(tmp_path):
    """script("python code") -> a file to run, in which `task` is what $TF_CONFIG says."""

    def write(code):
        path = tmp_path / "worker.py"
        path.write_text(f"import json, os, sys, time\ntask = json.loads(os.environ.get('TF_CONFIG', 'null'))\n{code}\n")
        return path

    return write


def test_each_has_its_index_and_the_first_is_printed(script, tmp_path):
    code = "open(f'{sys.argv[1]}/{task[\"task\"][\"index\"]}', 'w').write(json.dumps(task)); print(task['task'])"
    printed = worker_processes.run_workers(3, script(code), tmp_path)
    assert printed == "{'type': 'worker', 'index': 0}\n"
    tasks = [json.loads((tmp_path / str(i)).read_text()) for i in range(3)]
    (hosts,) = {tuple(task["cluster"]["worker"]) for task in tasks}
    assert len(set(hosts)) == 3 and all(host.startswith("127.0.0.1:") for host in hosts)


def test_one_alone_is_no_cluster(script, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    assert worker_processes.run_workers(1, script("print(task)")) == "None\n"


@pytest.mark.parametrize(
    ("failure", "expected"), [("sys.exit('no data')", "no data"), ("sys.exit(3)", "exit status 3")]
)
def test_all_are_ended_when_one_fails(script, monkeypatch, failure, expected):
    monkeypatch.setattr(worker_processes.launch, "GRACE", 0.2)
    began = time.monotonic()
    with pytest.raises(RunError, match=rf"worker\.py, worker 1 of 2, failed: {expected}"):
        worker_processes.run_workers(2, script(f"if task['task']['index']: {failure}\ntime.sleep(60)"))
    assert time.monotonic() - began < 20
