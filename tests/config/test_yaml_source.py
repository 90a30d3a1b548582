import os
import socket
from pathlib import Path

import pytest

from hwcls.config.yaml_source import parse_value, read_source
from hwcls.errors import UserError

# each list holds the one before eight times: 9 * 8**5 values
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 8)}]\n" for old, new in zip("abcde", "bcdef", strict=True)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join([f'*{old}'] * 9)}]}}\n" for old, new in zip("abcdef", "bcdefg", strict=True)
)


def source(tmp_path, text):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return read_source(path)


def test_values_have_their_lines(tmp_path):
    read = source(tmp_path, "a:\n  b: 1\n  c:\n    - x\n    - y\n")
    assert read.values == {"a": {"b": 1, "c": ["x", "y"]}}
    assert read.where(("a", "c")).endswith("s.yaml:3: a.c")
    assert read.where(("a", "c", "1")).endswith("s.yaml:5: a.c.1")
    assert read.where(("a", "unknown")).endswith("s.yaml:1: a.unknown")


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("1E3", 1000.0), ("2.5e+2", 250.0), ("3", 3), ("1e", "1e"), ("-1e-2", -0.01)]
)
def test_exponents_are_numbers(text, value):
    assert parse_value(text, "x") == value


def test_set_replaces_and_creates(tmp_path):
    read = source(tmp_path, "a:\n  b: {x: 1, y: 2}\nlist: [1, 2]\n")
    read.set("a.b.x", 5, "--set")
    read.set("a.b.*", 7, "--set")
    read.set("list.1", 9, "--set")
    read.set("new.deep", 1, "--set")
    assert read.values == {"a": {"b": {"x": 7, "y": 7}}, "list": [1, 9], "new": {"deep": 1}}
    assert "(--set)" in read.where(("a", "b", "x"))


def test_each_entry_of_a_star_has_a_value_of_its_own(tmp_path):
    read = source(tmp_path, "a: {b: {x: 1}, c: {x: 1}}\nlists: {d: [1], e: [1]}\n")
    read.set("a.*.x", {"min": 1, "max": 2}, "--set")
    read.set("a.b.x.max", 3, "--set")
    read.set("lists.*.0", [4, 5], "--set")
    read.set("lists.d.0.1", 6, "--set")
    assert read.values["a"] == {"b": {"x": {"min": 1, "max": 3}}, "c": {"x": {"min": 1, "max": 2}}}
    assert read.values["lists"] == {"d": [[4, 6]], "e": [[4, 5]]}


def test_set_into_a_value_is_an_error(tmp_path):
    with pytest.raises(UserError, match="'a' holds no entries"):
        source(tmp_path, "a: 1\n").set("a.b", 1, "--set")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "s.yaml:1"),
        ("a: 1\na: 2\n", "'a' appears twice here"),
        ("- 1\n", "holds no 'key: value' entries"),
        ("", "holds no 'key: value' entries"),
        ("? [1, 2]\n: 3\n", "a key must be a plain scalar"),
        ("b: 1\na: !!python/object:os.system x\n", "s.yaml:2: a: the tag !!python/object:os.system means nothing here"),
        ("a: !!python/tuple [1]\n", "the tag !!python/tuple means nothing here"),
        ("a: !mine {b: 1}\n", "the tag !mine means nothing here"),
        ("a: !!set {b}\n", "the tag !!set means nothing here"),
        ("a: !!timestamp 9\n", "the tag !!timestamp means nothing here"),
        ("a: !!binary x\n", "the tag !!binary means nothing here"),
        ("!!binary a: 1\n", "the tag !!binary means nothing here"),
        ("a: !!bool x\n", "s.yaml:1: a: 'x' is not true or false"),
        ('a: !!int ""\n', "s.yaml:1: a: '' is not a whole number"),
        ("a: !!float x\n", "s.yaml:1: a: 'x' is not a number"),
        ("a: !!null x\n", "'x' is not null"),
        ("a: <<\n", "'<<' is a key, not a value"),
        ("a: 010\n", "write 10, or '010' if it is a name"),
        (f"a: {'9' * 5000}\n", "is too long for a number"),
        (f"a: {2**63}\n", "9223372036854775808 is too large"),
        ("a: {b: [1, .inf]}\n", "s.yaml:1: a.b.1: .inf is not a finite number"),
        ("a: 1e999\n", "1e999 is not a finite number"),
        ("a: .nan\n", ".nan is not a finite number"),
        ("b: 1\na: x\x00\n", "s.yaml:2: the character U+0000 is not allowed here"),
        ('a: "\\0"\n', "s.yaml:1: a: contains the character U+0000"),
        ('"\\e[31m": 1\n', "contains the character U+001B"),
        ('a: "\\ud800"\n', "contains the character U+D800"),
        ("a: &x 1\nb: &x 2\n", "s.yaml:2: is not valid YAML: found duplicate anchor 'x'"),
        ("a: &x [*x]\n", "s.yaml:1: this entry contains itself by an alias"),
        ("a: &x {<<: *x}\n", "s.yaml:1: this entry contains itself by an alias"),
        ("a: {<<: 1}\n", "'<<' merges mappings alone — write <<: *anchor, or <<: [*a, *b]"),
        ("a: {<<: [{b: 1}, 2]}\n", "'<<' merges mappings alone"),
        ("a: {<<: {b: 1}, <<: {c: 1}}\n", "'<<' appears twice here — write <<: [*a, *b]"),
        ("a: {<<: {b: 1, b: 2}}\n", "'b' appears twice here"),
        ("a: " + "[" * 50 + "]" * 50, "nested too deeply"),
        ("[" * 3000, "nested too deeply"),
        (BOMB, "too large"),
        (MERGE_BOMB, "too large"),
    ],
)
def test_errors_of_bad_files_are_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as raised:
        source(tmp_path, text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x: &x {b: 1, c: 2}\na: {<<: *x, c: 3}\n", {"b": 1, "c": 3}),
        ("x: &x {b: 1, c: 2}\na: {c: 3, <<: *x}\n", {"b": 1, "c": 3}),  # wherever << stands
        ("x: &x {b: 1}\ny: &y {b: 2, c: 2}\na: {<<: [*x, *y]}\n", {"b": 1, "c": 2}),  # the first counts
        ("x: &x {b: 1, c: 1}\ny: &y {<<: *x, c: 2}\na: {<<: *y, d: 3}\n", {"b": 1, "c": 2, "d": 3}),
        ("a: {<<: []}\n", {}),
        ("a: {'<<': 1}\n", {"<<": 1}),
        ("a: {b: !!str 5, c: !!int '5', d: !!float 5, e: !!map {}}\n", {"b": "5", "c": 5, "d": 5.0, "e": {}}),
        ("a: [1:30, 2026-01-31, =, 0x10, 1_000]\n", ["1:30", "2026-01-31", "=", 16, 1000]),
    ],
)
def test_merged_entries_and_explicit_types(tmp_path, text, value):
    assert source(tmp_path, text).values["a"] == value


def test_a_merged_entry_has_the_line_where_it_is_written(tmp_path):
    read = source(tmp_path, "x: &x\n  b: 1\n  c: 2\na:\n  <<: *x\n  c: 3\n")
    assert read.where(("a", "b")).endswith("s.yaml:2: a.b")
    assert read.where(("a", "c")).endswith("s.yaml:6: a.c")


def test_a_byte_order_mark_is_no_content(tmp_path):
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_source(tmp_path / "s.yaml").values == {"a": 1}


def test_an_error_in_an_option_has_no_line():
    with pytest.raises(UserError, match=r"^--set a=\.inf: \.inf is not a finite number"):
        parse_value(".inf", "--set a=.inf")


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "fifo", tmp_path / "socket", Path("/dev/zero"), Path("/dev/null")):
            with pytest.raises(UserError, match="is a pipe, a device or a socket — name a regular file"):
                read_source(path)
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(10**9)
    with pytest.raises(UserError, match="is too large for a sweep file"):
        read_source(tmp_path / "large.yaml")


def test_missing_folder_and_binary_files(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_source(tmp_path / "none.yaml")
    (tmp_path / "quickstart.yaml").touch()
    with pytest.raises(UserError, match=r"no such file — did you mean '.*/quickstart\.yaml'\?"):
        read_source(tmp_path / "quikstart.yaml")
    with pytest.raises(UserError, match="is a folder"):
        read_source(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UserError, match=r"b\.yaml:1: cannot be read: it is not UTF-8 text — save it as UTF-8"):
        read_source(tmp_path / "b.yaml")
