"""The cursor: grows by what changed, survives kills and damage."""

import itertools

from hwcls.tracking.cursor import Cursor


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
