"""A row counts only if its checksum is right: after a crash, damage, and with several processes at work."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from hwcls.training.features import feature_file
from hwcls.training.features.feature_file import BLOCK, FeatureFile

COUNT, WIDTH = 5 * BLOCK + 7, 6
ROWS = np.arange(COUNT)
FORK = multiprocessing.get_context("fork")


def values(rows: np.ndarray) -> np.ndarray:
    """(n, WIDTH) float16 of some rows, all different."""
    return (rows[:, None] + np.arange(WIDTH) / 8).astype(np.float16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "features" / "train.0.npy"


@pytest.fixture(autouse=True)
def _nothing_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureFile, "_intact", {})


def open_again(path: Path) -> FeatureFile:
    """As another process sees it."""
    FeatureFile._intact.clear()
    return FeatureFile(path, COUNT)


def filled(path: Path) -> FeatureFile:
    file = FeatureFile(path, COUNT)
    file.create(WIDTH)
    file.write(ROWS, values(ROWS))
    return open_again(path)


def compute(path: Path, rows: np.ndarray, log: Path, seconds: float = 0.0) -> None:
    """What `compute_features` does with a file: take claims, write them, note the rows."""
    file = FeatureFile(path, COUNT)
    file.create(WIDTH)
    for claim in file.claims(rows, 1):
        if claim is None:
            time.sleep(0.01)
            continue
        time.sleep(seconds)
        file.write(claim.rows, values(claim.rows))
        claim.release()
        with open(log, "a") as lines:
            lines.write("".join(f"{row}\n" for row in claim.rows))
    file.close()


def test_rows_are_there_once_they_are_written(path: Path) -> None:
    file = FeatureFile(path, COUNT)
    some = np.array([0, 3, 4, 5, 200, COUNT - 1])
    assert file.read() is None
    assert file.missing(some).tolist() == some.tolist()
    file.create(WIDTH)
    assert file.missing(some).tolist() == some.tolist()
    file.write(some, values(some))
    for opened in (file, open_again(path)):
        assert len(opened.missing(some)) == 0
        assert opened.missing(ROWS).tolist() == [row for row in ROWS if row not in some]
        assert opened.count_pending(ROWS) == COUNT - len(some)
        found = opened.read()
        assert found is not None
        assert found[some].tolist() == values(some).tolist()
        assert not found.flags.writeable


def test_a_row_of_zeros_is_there(path: Path) -> None:
    """CRC-32 of some rows is 0, which stands for a row that is not computed."""
    file = FeatureFile(path, COUNT)
    file.create(WIDTH)
    file.write(np.array([2]), np.zeros((1, WIDTH), np.float16))
    assert open_again(path).missing(np.array([1, 2])).tolist() == [1]


def test_it_takes_room_for_what_is_there_alone(tmp_path: Path) -> None:
    file = FeatureFile(tmp_path / "a.npy", 1_000_000)
    file.create(1000)
    file.write(np.array([999_999]), np.ones((1, 1000), np.float16))
    assert file.path.stat().st_size > 2_000_000_000
    assert file.path.stat().st_blocks * 512 < 100_000


def test_flipped_bits_are_found_and_their_rows_computed_again(path: Path) -> None:
    filled(path)
    with open(path, "r+b") as file:
        file.seek(-3 * WIDTH * 2, os.SEEK_END)
        file.write(b"\xff")
    assert open_again(path).missing(ROWS).tolist() == [COUNT - 3]
    file = open_again(path)
    file.write(np.array([COUNT - 3]), values(np.array([COUNT - 3])))
    assert len(open_again(path).missing(ROWS)) == 0


def test_each_row_is_checked_once_per_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, checked, checksums = filled(path), [], feature_file._checksums
    monkeypatch.setattr(feature_file, "_checksums", lambda rows: checked.append(len(rows)) or checksums(rows))
    file.missing(ROWS[:10])
    file.missing(ROWS[5:20])
    FeatureFile(path, COUNT).missing(ROWS[:20])
    assert checked == [10, 10]


@pytest.mark.parametrize("kept", [0, 10, 128, 128 + 40 * WIDTH * 2 + 3])
def test_a_truncated_file_is_completed(path: Path, kept: int) -> None:
    filled(path)
    os.truncate(path, kept)
    file = open_again(path)
    assert len(file.missing(ROWS)) == COUNT  # it cannot be mapped
    file.create(WIDTH)
    assert file.missing(ROWS).tolist() == ROWS[max(0, (kept - 128) // (2 * WIDTH)) :].tolist()
    left = file.missing(ROWS)
    file.write(left, values(left))
    found = open_again(path).read()
    assert found is not None
    assert found.tolist() == values(ROWS).tolist()


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00garbage"])
def test_damaged_checksums_mean_that_nothing_is_there(path: Path, damage: bytes) -> None:
    filled(path)
    path.with_suffix(".crc.npy").write_bytes(damage)
    file = open_again(path)
    assert len(file.missing(ROWS)) == COUNT
    file.create(WIDTH)
    assert len(file.missing(ROWS)) == COUNT
    file.write(ROWS, values(ROWS))
    assert len(open_again(path).missing(ROWS)) == 0


def test_features_of_another_length_are_replaced(path: Path) -> None:
    filled(path)
    file = open_again(path)
    file.create(WIDTH + 1)
    assert len(file.missing(ROWS)) == COUNT


def test_several_processes_compute_each_row_once(path: Path, tmp_path: Path) -> None:
    """One of them needs only some rows, which are computed once all the same."""
    log, needed = tmp_path / "log", [ROWS, ROWS, ROWS[::3]]
    processes = [FORK.Process(target=compute, args=(path, rows, log, 0.02)) for rows in needed]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    lines = log.read_text().split()
    assert sorted(map(int, lines)) == ROWS.tolist()
    found = open_again(path).read()
    assert found is not None
    assert found.tolist() == values(ROWS).tolist()


def test_what_a_killed_process_had_claimed_is_computed_by_another(path: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = FORK.Process(target=compute, args=(path, ROWS, log, 0.15))
    first.start()
    while not log.exists() or len(log.read_text().split()) < BLOCK:
        time.sleep(0.01)
    second = FORK.Process(target=compute, args=(path, ROWS[: 2 * BLOCK], log, 0.0))  # waits for the first's claim
    second.start()
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    before = set(map(int, log.read_text().split()))
    second.join(30)
    assert second.exitcode == 0
    compute(path, ROWS, log)
    after = list(map(int, log.read_text().split()))
    assert before >= set(range(BLOCK))
    assert sorted(after) == ROWS.tolist()  # what the first had written was not computed again
    assert len(open_again(path).missing(ROWS)) == 0


def test_a_full_disk_is_an_error_and_no_signal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = FeatureFile(path, COUNT)
    file.create(WIDTH)

    def fail(path: Path, rows: np.ndarray, data: np.ndarray) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(feature_file, "_write_rows", fail)
    with pytest.raises(OSError, match="No space left"):
        file.write(ROWS, values(ROWS))
    assert len(file.missing(ROWS)) == COUNT


def test_claims_have_about_as_many_rows_as_asked_for(path: Path) -> None:
    file = FeatureFile(path, COUNT)
    file.create(WIDTH)
    rows = ROWS[::5]
    sizes: list[int] = []
    for claim in file.claims(rows, 30):
        assert claim is not None
        sizes.append(len(claim.rows))
        file.write(claim.rows, values(claim.rows))
        claim.release()
    assert sizes == [39, 27]
    assert list(file.claims(rows, 30)) == []
    file.close()


def test_rows_that_another_process_computes_just_before_the_claim_are_not_claimed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, lock = FeatureFile(path, COUNT), FeatureFile._lock
    file.create(WIDTH)

    def compute_first(self: FeatureFile, block: int) -> bool:
        self.write(ROWS, values(ROWS))
        return lock(self, block)

    monkeypatch.setattr(FeatureFile, "_lock", compute_first)
    assert list(file.claims(ROWS, 1000)) == []
    other = FORK.Process(target=lambda: os._exit(0 if lock(FeatureFile(path, COUNT), 0) else 1))
    other.start()
    other.join()
    assert other.exitcode == 0  # nothing stays locked
