"""Text from elsewhere cannot move the cursor, hide text, or be computed by a spreadsheet."""

import csv
import io

import pytest

from hwcls.errors import UserError
from hwcls.escape import csv_text, has_key, hide_credentials, printable
from hwcls.format import format_number
from hwcls.results.compare import format_csv


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\x1b]8;;http://evil\x07here\x1b]8;;\x07", r"\x1b]8;;http://evil\x07here\x1b]8;;\x07"),
        ("\x9b31m", r"\x9b31m"),  # the same with one byte
        ("a\rb\x08\x7f", r"a\rb\x08\x7f"),
        ("cat\nhwcls: done", r"cat\nhwcls: done"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\u2066a\u2069\u2028", r"\u2066a\u2069\u2028"),
        (b"\xff.png".decode("utf-8", "surrogateescape"), r"\udcff.png"),
        ("Katze, кошка, 猫, قطة, 🐈", "Katze, кошка, 猫, قطة, 🐈"),
    ],
)
def test_what_moves_or_hides_text_is_shown_as_letters(text, shown):
    assert printable(text) == shown
    assert format_number(text) == shown
    printable(text).encode("utf-8")


def test_newlines_are_kept_where_they_belong():
    assert printable("a\n\tb\x1b", "\n\t") == "a\n\tb\\x1b"


def test_an_error_is_one_harmless_line():
    error = UserError("\x1b[31mred\nline", where="a\x07.yaml")
    assert str(error) == r"a\x07.yaml: \x1b[31mred line"


@pytest.mark.parametrize("formula", ["=1+1", "+cmd|' /C calc'!A0", "-1+1", "@SUM(A1)", "'=1", "\t=1", "\r=1"])
def test_a_csv_holds_no_formula_and_the_text_comes_back(formula):
    text = format_csv([{"label": formula, "=name": 1}])
    header, row = list(csv.reader(io.StringIO(text)))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in header + row)
    back = row[0].removeprefix("'")
    assert back == (formula if formula[0] not in "\t\r" else printable(formula))


@pytest.mark.parametrize("number", [-1.5, 3, "-1.5", "+2e-3", "1e-4"])
def test_numbers_stay_numbers(number):
    assert csv_text(number) == number
    ((cell,),) = list(csv.reader(io.StringIO(format_csv([{"x": number}]))))[1:]
    assert float(cell) == float(number)


def test_none_is_an_empty_cell():
    assert format_csv([{"a": None, "b": 1}]) == "a,b\n,1\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://key:secret@bucket/path", "s3://bucket/path"),
        ("http://user:p@ss@host", "http://host"),  # the last @ ends a password
        ("http://u:p@@a:1, https://t@b/c@d and me@home", "http://a:1, https://b/c@d and me@home"),
        ("https://host/a@b", "https://host/a@b"),
        ("--results=abfss://container@account.dfs/a", "--results=abfss://container@account.dfs/a"),  # is no user
        ("abfss://user:secret@host/a", "abfss://host/a"),
        ("s3://key:se/cr/et@bucket/a", "s3://bucket/a"),  # as the secrets of AWS
        ("http://host:8265/a@b", "http://host:8265/a@b"),
        ("abfs://c@account/a?client_secret=abc&tenant_id=3", "abfs://c@account/a?client_secret=***&tenant_id=3"),
        ("s3:/key:secret@bucket/a", "s3:/bucket/a"),  # a URL that was taken for a path
        ("host:/a/b@c", "host:/a/b@c"),
        ("s3://bucket?region=eu-west-1&scheme=http", "s3://bucket?region=eu-west-1&scheme=http"),
        ("s3://key:12/ab+c@bucket/a", "s3://bucket/a"),  # no port
        ("s3://key:/ab@bucket/a", "s3://bucket/a"),
        ('{"a":"http://u:p@h","b":"http://x:y@i"}', '{"a":"http://h","b":"http://i"}'),
        ("http://[::1]:8265/a@b", "http://[::1]:8265/a@b"),
        ("https://${HOST}:${PORT}/x@y", "https://${HOST}:${PORT}/x@y"),
        ("/usr/sbin:/bin:/opt/python@3.11/bin", "/usr/sbin:/bin:/opt/python@3.11/bin"),
        ("file://C:/Users/a@b/r", "file://C:/Users/a@b/r"),
        ("x://b/a?client_secret=x: is no folder", "x://b/a?client_secret=***: is no folder"),
        ("(see x://b?token=abc), #keypoints=3", "(see x://b?token=***), #keypoints=3"),
    ],
)
def test_credentials_in_addresses_are_hidden(text, shown):
    assert hide_credentials(text) == shown
    assert str(UserError(text, where=text, remedy=text)) == f"{shown}: {shown} — {shown}"


@pytest.mark.parametrize(
    "url",
    [
        *("s3://key:secret@b", "s3://key:se/cret@b", "s3://key:12/ab@b", "abfs://:k@a", "http://u:p@ss@host"),
        *("x://b?client_secret=a", "x://b?X-Amz-Signature=a", "x://b?a=1&apikey=a", "x://b?accessToken=a"),
    ],
)
def test_a_key_in_a_url_is_found(url):
    assert has_key(f"--results={url}/a")


@pytest.mark.parametrize(
    "text",
    [
        *("sftp://me@host", "abfss://container@account", "s3://b?region=eu", "http://h:82/a@b", "http://[::1]:82/a@b"),
        *("https://h/x?token=$TOKEN", "https://$USER:$PASSWORD@h"),
        *("https://h?author=me&keywords=a", "#key=1", "a&key=1"),
    ],
)
def test_a_text_without_a_key_has_none(text):
    assert not has_key(f"{text} me@home")
