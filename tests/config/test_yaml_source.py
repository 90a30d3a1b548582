import pytest

from hwcls.config.yaml_source import parse_value, read_source
from hwcls.errors import UserError

# each list holds the one before eight times: 9 * 8**5 values
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 8)}]\n" for old, new in zip("abcde", "bcdef", strict=True)
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
        ("a: !!python/object:os.system x\n", "is not valid YAML"),
        ("? [1, 2]\n: 3\n", "a key must be a plain scalar"),
        ("a: 2020-99-99\n", "is not valid YAML"),
        ("a: 2020-01-01\n", "is not a string, a number or a boolean"),
        ("a: &x [*x]\n", "nested too deeply"),
        ("[" * 3000, "nested too deeply"),
        (BOMB, "too large"),
    ],
)
def test_errors_of_bad_files_are_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as raised:
        source(tmp_path, text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_missing_folder_and_binary_files(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_source(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="is a folder"):
        read_source(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UserError, match="not UTF-8"):
        read_source(tmp_path / "b.yaml")
