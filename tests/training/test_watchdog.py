"""A process without progress dumps its stacks and ends; one that makes progress does not."""

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
def test_a_process_without_steps_ends(tmp_path, what, code):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    dump = tmp_path / "dump"
    done = subprocess.run([sys.executable, str(program), str(dump), what], timeout=50)
    assert done.returncode == code
    if what == "stuck":
        assert hung_location(dump.read_text()) == f"{program}:6 in stuck"
    else:
        assert dump.read_text() == ""


def test_without_a_watch_nothing_happens():
    reset_timer()


def test_a_block_that_raises_is_no_longer_watched(tmp_path):
    with open(tmp_path / "dump", "wb") as file, pytest.raises(KeyError), watch(0.2, file):
        raise KeyError
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.5)"], check=True)


def test_an_empty_dump():
    assert hung_location("") == "an unknown place"
