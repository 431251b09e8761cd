"""Scripts in processes of their own that find TensorFlow imported: forked from a server that has done nothing else.

TensorFlow's import takes four seconds of a processor, and the tests start some hundred scripts. Each process of pytest
that needs one starts one server. For a script the server forks, and its child runs the file from the first line, as
`python script.py` does: with its own arguments, folder, environment, standard streams, signals and exit status, and
with no module of this project loaded. What the start of Python itself does is tested with runner.run_alone.
"""

import atexit
import functools
import gc
import io
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

AVAILABLE = sys.platform == "linux"  # elsewhere the system's libraries do not survive a fork
ONE_AT_A_TIME = threading.Lock()  # of the threads of tests/mutation_score.py


# The side of the tests.


@functools.cache
def server() -> socket.socket:
    """The connection to this process's server, which ends with it."""
    ours, its = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, __file__, str(its.fileno())], pass_fds=[its.fileno()], stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    its.close()
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def asked(request: dict, files=()) -> int | None:
    """The server's answer to one request, with which it gets these file descriptors."""
    with ONE_AT_A_TIME:
        socket.send_fds(server(), [json.dumps(request).encode() + b"\n"], files)
        return json.loads(server().makefile().readline())


class Process:
    """A script that was started; with those methods of subprocess.Popen that the tests use."""

    def __init__(self, args: list[str], stdin: str = "", stdout=None, cwd=None, env=None):
        """args: the script and its arguments. stdout: a file in place of what communicate() returns."""
        self.args, self.returncode, self.streams = args, None, [tempfile.TemporaryFile() for _ in range(3)]
        self.streams[0].write(stdin.encode())
        self.streams[0].seek(0)
        request = {"args": args, "cwd": str(cwd or os.getcwd()), "env": dict(os.environ if env is None else env)}
        files = [self.streams[0].fileno(), (stdout or self.streams[1]).fileno(), self.streams[2].fileno()]
        self.pid = asked(request, files)

    def poll(self) -> int | None:
        """The exit status, negative after a signal; None while it runs."""
        if self.returncode is None:
            status = asked({"ended": self.pid})
            self.returncode = None if status is None else os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 300) -> int:
        """The exit status, once it has ended."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                self.kill()
                raise subprocess.TimeoutExpired("a forked script", timeout)
            time.sleep(0.005)
        return self.returncode

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """What it has written to standard output and to standard error, once it has ended."""
        self.wait(timeout)
        for stream in self.streams:
            stream.seek(0)
        return tuple(stream.read().decode() for stream in self.streams[1:])

    def send_signal(self, number: int) -> None:
        """A signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


# The side of the server.


def serve(channel: socket.socket) -> dict:
    """Answer requests until the tests are over. Returns only in a child, with the request for it."""
    children = {}
    while True:
        content, files, *_ = socket.recv_fds(channel, 1 << 20, 3)
        while content and not content.endswith(b"\n"):
            content += channel.recv(1 << 20)
        if not content:
            sys.exit()
        request = json.loads(content)
        if "args" in request:
            process = os.fork()
            if not process:
                channel.close()
                return request | {"files": files}
            for file in files:
                os.close(file)
            answer = children[process] = process
        else:
            ended, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = status if ended else None
        channel.sendall(json.dumps(answer).encode() + b"\n")


def become(request: dict) -> None:
    """Make this process what a new Python would be that is started with this request."""
    for number, file in enumerate(request["files"]):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = sys.__stdin__ = open(0, encoding=encoding, errors=errors or "strict", closefd=False)
    for number, name, otherwise in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        raw = open(number, "wb", buffering=-1, closefd=False)
        text = io.TextIOWrapper(
            raw, encoding, errors if errors and number == 1 else otherwise, line_buffering=number == 2,
            write_through=at_once,
        )  # fmt: skip
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    sys.argv = request["args"]
    sys.path[0] = str(Path(sys.argv[0]).parent)


def run_to_the_end(script: str) -> None:
    """Run the file and end this process with its status, as Python does; but without taking every module apart.

    To clear away what TensorFlow has left in memory takes a second.
    """
    status = 0
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
    except BaseException:
        status = 1
        traceback.print_exc()
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError as error:
        print(f"Exception ignored while standard output was flushed: {error!r}", file=sys.stderr)
        status = 120
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import matplotlib.pyplot  # noqa: F401
    import tensorflow  # noqa: F401

    gc.freeze()  # a child's garbage collection leaves alone what is here: touched, its memory would be copied
    become(serve(socket.socket(fileno=int(sys.argv[1]))))
    run_to_the_end(sys.argv[0])
