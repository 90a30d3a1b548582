import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwcls import temporary
from hwcls.errors import UserError

KILLED = """
import os, signal
from hwcls.temporary import open_folder
print(open_folder().path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
CHILD = """
import os, signal, subprocess, sys
from hwcls.temporary import open_folder
folder = open_folder()
child = [sys.executable, "-c", "import sys; sys.stdin.read()"]
subprocess.Popen(child, pass_fds=(folder.descriptor,), stdout=subprocess.DEVNULL)
print(folder.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """TMPDIR of the test; /tmp and /var/tmp stay untouched."""
    for name in ("TEMP", "TMP", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(temporary, "COMMON", ())
    return tmp_path


def mode(path: Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def run(code: str, **options) -> Path:
    """The folder that a process opened before it was killed."""
    return Path(
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options).stdout.strip()
    )


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_user_can_read_it_whatever_the_umask(place, umask):
    before = os.umask(umask)
    try:
        folder = temporary.open_folder()
    finally:
        os.umask(before)
    assert folder.path.parent == place / f"hwcls-{os.geteuid()}"
    assert mode(folder.path) == mode(folder.path.parent) == 0o700
    folder.remove()
    assert list(folder.path.parent.iterdir()) == [folder.path.parent / temporary.LOCK]


def test_the_next_start_removes_what_a_killed_process_left_and_nothing_else(place):
    open_here = temporary.open_folder()
    left = run(KILLED)
    (left / "logs").mkdir()
    (place / f"hwcls-{os.geteuid()}" / "of_the_user").mkdir()
    assert left.is_dir()
    temporary.open_folder().remove()
    assert not left.exists()
    assert open_here.path.is_dir()
    assert (left.parent / "of_the_user").is_dir()
    open_here.remove()


def test_a_child_keeps_the_folder_of_a_killed_parent(place):
    reader, writer = os.pipe()
    left = run(CHILD, stdin=reader)
    temporary.open_folder().remove()
    assert left.is_dir()
    os.close(writer)  # the child ends
    os.close(reader)
    end = time.monotonic() + 60  # the child has to notice
    while left.exists() and time.monotonic() < end:
        time.sleep(0.05)
        temporary.open_folder().remove()
    assert not left.exists()


def test_a_folder_or_a_link_of_another_user_is_not_used(place, monkeypatch):
    (place / "elsewhere").mkdir()
    root = place / f"hwcls-{os.geteuid()}"
    root.symlink_to(place / "elsewhere")
    with pytest.raises(UserError, match="belongs to someone else"):
        temporary.open_folder()
    assert list((place / "elsewhere").iterdir()) == []
    root.unlink()
    root.mkdir()
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    root.rename(place / f"hwcls-{owner + 1}")
    with pytest.raises(UserError, match="belongs to someone else"):
        temporary.open_folder()


def test_a_folder_that_was_open_to_others_is_closed(place):
    root = place / f"hwcls-{os.geteuid()}"
    root.mkdir()
    root.chmod(0o777)
    temporary.open_folder().remove()
    assert mode(root) == 0o700


def test_a_long_path_is_passed_over(place, monkeypatch):
    short = place / "s"
    short.mkdir()
    deep = place / ("d" * 60)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr(temporary, "COMMON", (str(short),))
    longest = len(f"{short}/hwcls-{os.geteuid()}/s-12345678")
    assert temporary.find_root(longest).parent == short
    assert temporary.find_root().parent == deep
    with pytest.raises(UserError, match=r"too long a path.*too long a path.*set TMPDIR"):
        temporary.find_root(longest - 1)


def test_what_another_library_makes_at_its_import_is_in_a_folder_of_the_process(place):
    code = "import tempfile; from hwcls import temporary; before = tempfile.gettempdir()\n"
    code += "with temporary.own_temporary_files(): kept = tempfile.TemporaryDirectory()\n"
    code += "assert tempfile.gettempdir() == before; print(kept.name, flush=True)\n"
    root = place / f"hwcls-{os.geteuid()}"
    for end in ("", "import os; os.kill(os.getpid(), 9)"):
        made = run(code + end)
        assert made.parent.parent == root
        assert made.exists() == bool(end)  # killed: the next start removes it
    temporary.open_folder().remove()
    assert list(root.iterdir()) == [root / temporary.LOCK]


def test_no_place_at_all_is_one_line(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/proc/1")
    with pytest.raises(UserError, match="no folder for temporary files: /proc/1: "):
        temporary.open_folder()


def test_a_full_disk_is_passed_over(place, monkeypatch):
    free = {place: 2**20}
    usage = temporary.shutil.disk_usage
    monkeypatch.setattr(temporary.shutil, "disk_usage", lambda path: usage(path)._replace(free=free.get(path, 2**30)))
    (place / "other").mkdir()
    monkeypatch.setattr(temporary, "COMMON", (str(place / "other"),))
    assert temporary.find_root().parent == place / "other"
    monkeypatch.setattr(temporary, "COMMON", ())
    with pytest.raises(UserError, match="the disk is full"):
        temporary.find_root()
