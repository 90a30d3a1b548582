"""The cursor: grows by what changed, survives kills and damage."""

import itertools

from hwcls.tracking.cursor import Cursor, merge


def test_a_cursor_writes_what_changed_alone(tmp_path):
    path = tmp_path / "cursor.jsonl"
    cursor, sizes = Cursor(path), []
    for number in range(100, 200):
        cursor.update(f"trials/{number}", id="a", status=None)
        sizes.append(path.stat().st_size)
    assert len({after - before for before, after in itertools.pairwise(sizes)}) == 1
    cursor.update("trials/100", status="complete")
    with open(path, "ab") as file:
        file.write(b'{"run": "trials/101", "ent')  # killed
    again = Cursor(path)
    assert again.get("trials/100") == {"id": "a", "status": "complete"}
    assert again.get("trials/101") == {"id": "a", "status": None}
    again.update("trials/101", lines=3)
    assert Cursor(path).get("trials/101") == {"id": "a", "status": None, "lines": 3}


def test_a_broken_cursor_starts_again(tmp_path):
    path = tmp_path / "cursor.jsonl"
    first = Cursor(path)
    first.update("trials/0", status="complete")
    assert Cursor(path).get("trials/0") == {"status": "complete"}
    assert Cursor(path).identity == first.identity
    path.write_text("[1, 2")
    assert Cursor(path).get("trials/0") == {}
    assert Cursor(path).identity != first.identity


def test_two_copies_of_a_cursor_are_merged(tmp_path):
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    cursor = Cursor(one)
    for number in (0, 1):
        cursor.update(f"trials/{number}", id="a", status=None)
    other.write_bytes(one.read_bytes())
    for number in (0, 1):
        cursor.update(f"trials/{number}", status="complete", lines=2)
    Cursor(other).update("trials/1", lines=9)
    Cursor(other).update("trials/2", status="failed")
    with open(one, "ab") as file:
        file.write(b'{"run": "trials/7", "ent')  # killed
    merged = merge(one.read_bytes(), other.read_bytes())
    assert merged.startswith(other.read_bytes())
    other.write_bytes(merged)
    assert [Cursor(other).get(f"trials/{number}") for number in range(3)] == [
        {"id": "a", "status": "complete", "lines": 2},
        {"id": "a", "status": None, "lines": 9},  # continued in the other copy
        {"status": "failed"},
    ]
    assert Cursor(other).identity == cursor.identity
    assert merge(one.read_bytes(), b"") == one.read_bytes().rpartition(b"\n")[0] + b"\n"
    assert merge(b"", merged) == merged
    Cursor(tmp_path / "new.jsonl").update("trials/0", status="complete")
    assert merge(one.read_bytes(), (tmp_path / "new.jsonl").read_bytes()) == (tmp_path / "new.jsonl").read_bytes()
