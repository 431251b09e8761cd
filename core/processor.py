"""The processor: its name and what it can do, as the system says. The standard library is enough."""

from __future__ import annotations

import contextlib
import platform
import re
from pathlib import Path


def processor_flags() -> frozenset:
    """What the processor can do, as Linux names it; empty elsewhere."""
    with contextlib.suppress(OSError, TypeError):  # no such file, no such line
        return frozenset(re.search(r"^flags\s*:(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1].split())
    return frozenset()


def processor_name() -> str:
    """The processor's name as the system gives it."""
    with contextlib.suppress(OSError, TypeError):  # no such file, no such line
        return re.search(r"^model name\s*:(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[1].strip()
    return platform.processor() or platform.machine()
