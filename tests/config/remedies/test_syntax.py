"""A mistake in the YAML of a sweep file is explained in plain words, in the line where it is."""

import pytest

from hwcls.config.yaml_source import parse_value, read_source
from hwcls.errors import UserError

INDENT = "indent it like the other entries of its section"
COLON = "write a colon and a space after the key"
COMMA = "is not closed, or a comma is missing between its entries — close it with"
ALIKE = "an item of a list ('- ...') and a 'key: value' entry have the same indentation"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\n  b: 2\n", f"2: 'b: 2' is indented by 2 spaces, the entries above by 0 — {INDENT}"),
        ("a: {x: 1}\n  b: 2\n", f"2: 'b: 2' is indented by 2 spaces, the entries above by 0 — {INDENT}"),
        (
            "a:\n  b:\n    c: 1\n   d: 2\n",
            f"4: 'd: 2' is indented by 3 spaces, the entries above by 0, 2 or 4 — {INDENT}",
        ),
        ("a:\n    b: 1\n# x\n\n c: 2\n", f"5: 'c: 2' is indented by 1 space, the entries above by 0 or 4 — {INDENT}"),
        (" a: 1\nb: 2\n", f"2: 'b: 2' is indented by 0 spaces, the entries above by 1 — {INDENT}"),
        ("a:\n  - b: 1\n     c: 2\n", f"3: 'c: 2' is indented by 5 spaces, the entries above by 0, 2 or 4 — {INDENT}"),
        ("a:\n  - - b: 1\n   - c\n", f"3: '- c' is indented by 3 spaces, the entries above by 0, 2, 4 or 6 — {INDENT}"),
        ("a:\n  b: 1\n  - c\n", f"3: {ALIKE}"),
        ("a:\n  - c\n  b: 1\n", f"3: {ALIKE}"),
        ("a: 1\nb 2\nc: 3\n", f"2: 'b 2' is not a 'key: value' entry — {COLON}"),
        ("a:1\nb: 2\n", f"1: 'a:1' is not a 'key: value' entry — {COLON}"),
        ("a\n  b: 1\n", f"1: 'a' is not a 'key: value' entry — {COLON}"),
        ("a 1  # x\nb: 2\n", f"1: 'a 1 # x' is not a 'key: value' entry — {COLON}"),
        ("a:\n  b 1  # x: y\n  c: 2\n", f"2: 'b 1 # x: y' is not a 'key: value' entry — {COLON}"),
        ("a\n# b: c\nd: 1\n", f"1: 'a' is not a 'key: value' entry — {COLON}"),
        ("a:\u00a01\nb: 2\n", f"1: 'a: 1' is not a 'key: value' entry — {COLON}"),
        (f"{'a' * 1100}: 1\nb: 2\n", f"1: '{'a' * 37}...' does not fit the lines above"),
        ("a: b: c\n", "1: a second ': ' in one line — put quotes around a text with a colon"),
        ("a:\n\tb: 1\n", "2: a tab is not allowed here — indent with spaces"),
        ("a: [1, 2\nb: 3\n", f"1: the '[' {COMMA} ']'"),
        ("a:\n  b: {x: 1 y: 2}\n", f"2: the '{{' {COMMA} '}}'"),
        ("a: [1, 2,\n", "1: a bracket is not closed — close it with ] or }"),
        ("%x\n", "1: a value without quotes cannot begin with '%' — put quotes around it"),
        ("%b\n  # c\n", "1: a value without quotes cannot begin with '%' — put quotes around it"),
        (": c\nd\n", "1: "),
        ("a: [1, 2}\n", "1: the '[' is closed by '}' — write ']'"),
        ("a: [1,,2]\n", "1: a value is missing before ','"),
        ("a: [1, 2]]\n", "1: the ']' closes nothing — remove it"),
        ("a: 'b' c\n", "1: something follows a value in quotes or brackets"),
        ("a: 1\nb: 'c\nd: 1\n", "2: the quote ' is never closed — close it with '"),
        ('a: "C:\\photos"\n', "1: a backslash in double quotes has a meaning of its own — use single quotes"),
        ("a: @b\n", "1: a value without quotes cannot begin with '@' — put quotes around it"),
        ("a: , b\n", "1: a value without quotes cannot begin with ',' — put quotes around it"),
        ("a: * b\n", "1: a value without quotes cannot begin with '*' — put quotes around it"),
        ("a: >= 3\n", "1: a value without quotes cannot begin with '>' — put quotes around it"),
        ("a: *b\n", "1: '*' refers to an anchor, and no '&b' is above — put quotes around a text that begins with *"),
        ("a: - b\n", "1: an item of a list ('- ...') cannot begin here — write each item on a line of its own"),
        ('a: "\\U99999999"\n', " has an escape of no character"),
        ("a: 1\n---\nb: 2\n", "2: '---' begins a second document — remove it"),
    ],
)
def test_each_mistake_has_its_line_and_remedy(tmp_path, text, message):
    path = tmp_path / "s.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        read_source(path)
    assert str(raised.value).startswith(f"{path}:{message}")


def test_a_mistake_in_an_option_has_no_line():
    with pytest.raises(UserError, match=r"^--set a: the '\[' is not closed"):
        parse_value("[1, 2", "--set a")


def test_a_long_line_is_shortened(tmp_path):
    (tmp_path / "s.yaml").write_text(f"a: 1\n{'b' * 60} 2\nc: 3\n")
    with pytest.raises(UserError, match=rf"s\.yaml:2: '{'b' * 37}\.\.\.' is not a"):
        read_source(tmp_path / "s.yaml")
