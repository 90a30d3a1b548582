"""A process that makes no progress ends, and says where it stood; one that does goes on."""

import subprocess
import sys

import pytest

from hwcls.training.watchdog import beat, stood_at, watched

PROGRAM = """
import sys, time
from hwcls.training.watchdog import beat, watched

def stuck(seconds):
    time.sleep(seconds)

def works():
    for _ in range(30):
        time.sleep(0.1)
        beat()

with open(sys.argv[1], "wb") as file, watched(1.0, file):
    stuck(60) if sys.argv[2] == "stuck" else works()
time.sleep(2)  # nobody watches any more
"""


@pytest.mark.parametrize(("what", "code"), [("stuck", 1), ("works", 0)])
def test_no_beat_is_the_end(tmp_path, what, code):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    words = tmp_path / "words"
    done = subprocess.run([sys.executable, str(program), str(words), what], timeout=50)
    assert done.returncode == code
    if what == "stuck":
        assert stood_at(words.read_text()) == f"{program}:6 in stuck"
    else:
        assert words.read_text() == ""


def test_a_beat_without_a_watch_is_nothing():
    beat()


def test_a_block_that_raises_is_no_longer_watched(tmp_path):
    with open(tmp_path / "words", "wb") as file, pytest.raises(KeyError), watched(0.2, file):
        raise KeyError
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.5)"], check=True)


def test_words_that_say_nothing():
    assert stood_at("") == "an unknown place"
