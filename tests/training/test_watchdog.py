"""A process without progress dumps its stacks and ends; one that makes progress does not."""

import subprocess
import sys

import pytest

from hwcls.training.watchdog import describe_hang, hung_location, reset_timer, watch

PROGRAM = """
import sys, time
from threading import Thread
from filelock import FileLock
from hwcls.training.watchdog import reset_timer, waiting_for, watch

def stuck(seconds):
    time.sleep(seconds)

def works():
    for _ in range(30):
        time.sleep(0.1)
        reset_timer()

def hold():
    with FileLock(sys.argv[1] + ".lock"):
        time.sleep(3)

def waits():
    Thread(target=hold).start()
    time.sleep(0.1)
    started = time.monotonic()
    with waiting_for(FileLock(sys.argv[1] + ".lock")):
        assert time.monotonic() - started > 2

with open(sys.argv[1], "wb") as file, watch(1.0, file):
    {"stuck": lambda: stuck(60), "works": works, "waits": waits}[sys.argv[2]]()
time.sleep(2)  # nobody watches any more
"""


@pytest.mark.parametrize(("what", "code"), [("stuck", 1), ("works", 0), ("waits", 0)])
def test_a_process_without_steps_ends(tmp_path, what, code):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    dump = tmp_path / "dump"
    done = subprocess.run([sys.executable, str(program), str(dump), what], timeout=50)
    assert done.returncode == code
    if what == "stuck":
        text, place = dump.read_text(), f"{program}:8 in stuck"
        assert hung_location(text) == place
        assert describe_hang({0: "", 3: text}) == f"hung: no step finished in 1.0 s; rank 3 was at {place}"
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
    assert describe_hang({0: "", 1: "\n"}) == ""
    assert describe_hang({0: "Timeout (1:30:00.5)!"}).startswith("hung: no step finished in 1 h 30 min; rank 0")
