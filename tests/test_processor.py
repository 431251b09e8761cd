"""core/processor.py: what it makes of what Linux says, and where nothing is said."""

import pytest

from core import processor


@pytest.fixture
def said(monkeypatch, tmp_path):
    """said(text): from now on /proc/cpuinfo holds this; before, there is no such file."""
    monkeypatch.setattr(processor, "Path", lambda path: tmp_path / path.lstrip("/"))
    (tmp_path / "proc").mkdir()
    return (tmp_path / "proc" / "cpuinfo").write_text


def test_what_linux_says_of_the_processor(said):
    said("processor : 0\nmodel name\t: A B\nflags\t\t: fpu amx_bf16\nbugs : none\nflags : other\n")
    assert processor.processor_name() == "A B" and processor.processor_flags() == {"fpu", "amx_bf16"}


@pytest.mark.parametrize("text", [None, "processor : 0\nFeatures : fp asimd\n"], ids=["no file", "an ARM processor"])
def test_a_processor_that_linux_does_not_name(said, monkeypatch, text):
    if text:
        said(text)
    assert processor.processor_flags() == frozenset()
    monkeypatch.setattr(processor.platform, "machine", lambda: "aarch64")
    for found, name in (("Apple M1", "Apple M1"), ("", "aarch64")):
        monkeypatch.setattr(processor.platform, "processor", lambda found=found: found)
        assert processor.processor_name() == name
