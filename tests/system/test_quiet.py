"""What libraries may say while something of ours runs, and what the caller's own code may say afterwards."""

import logging
import warnings

import pytest

from gspo_lite.system.quiet import quietly


@quietly
def working(times, *, word):
    """Work."""
    warnings.warn("a library's warning", stacklevel=2)
    logging.getLogger("bitsandbytes.backends").warning("a library's notice")
    return word * times


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "")  # so that what is set in a test is forgotten after it
        monkeypatch.delenv(name)
    monkeypatch.delenv("GSPO_LITE_DEBUG", raising=False)


def test_libraries_are_silent_meanwhile_and_the_caller_can_warn_afterwards(recwarn, caplog):
    warnings.simplefilter("always")
    assert working(2, word="ab") == "abab"
    assert (len(recwarn), caplog.messages) == (0, [])
    warnings.warn("the caller's warning", stacklevel=2)
    assert [str(one.message) for one in recwarn] == ["the caller's warning"]
    assert working.__doc__ == "Work."


def test_what_libraries_say_can_be_asked_for(recwarn, monkeypatch):
    warnings.simplefilter("always")
    monkeypatch.setenv("GSPO_LITE_DEBUG", "1")
    working(1, word="ab")
    assert [str(one.message) for one in recwarn] == ["a library's warning"]
