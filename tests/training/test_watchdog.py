"""A process that makes no progress ends, and says where it stood; one that does goes on."""

import subprocess
import sys

import pytest

from hwcls.training.watchdog import hung_location, reset_timer, watch

PROGRAM = """
import sys, time
from hwcls.training.watchdog import reset_timer, watch

def stuck(seconds):
    time.sleep(seconds)

def works():
    for _ in range(30):
        time.sleep(0.1)
        reset_timer()

with open(sys.argv[1], "wb") as file, watch(1.0, file):
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
        assert hung_location(words.read_text()) == f"{program}:6 in stuck"
    else:
        assert words.read_text() == ""


def test_a_beat_without_a_watch_is_nothing():
    reset_timer()


def test_a_block_that_raises_is_no_longer_watched(tmp_path):
    with open(tmp_path / "words", "wb") as file, pytest.raises(KeyError), watch(0.2, file):
        raise KeyError
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.5)"], check=True)


def test_words_that_say_nothing():
    assert hung_location("") == "an unknown place"
