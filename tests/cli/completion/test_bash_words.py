"""Words that bash breaks at = and :, and what completes their last part."""

import pytest

from hwcls.cli.completion.bash_words import join_words, last_part


@pytest.mark.parametrize(
    ("parts", "place", "words", "found"),
    [
        (["hwcls", "sweep", ""], 2, ["hwcls", "sweep", ""], 2),
        (["hwcls", "sweep", "f.yaml", "--set", "a.b", "="], 5, ["hwcls", "sweep", "f.yaml", "--set", "a.b="], 4),
        (["hwcls", "--set", "a.b", "=", "v"], 4, ["hwcls", "--set", "a.b=v"], 2),
        (["hwcls", "--set", "=", "a.b", "=", "v", "x"], 6, ["hwcls", "--set=a.b=v", "x"], 2),
        (["hwcls", "models", "net.py", ":", "build"], 4, ["hwcls", "models", "net.py:build"], 2),
        (["hwcls", "--set", "a", "=", "v", "--set"], 2, ["hwcls", "--set", "a=v", "--set"], 2),
        (["hwcls", "sweep"], 2, ["hwcls", "sweep"], 2),  # the last word is empty, and no part of it is there
        (["hwcls"], 1, ["hwcls"], 1),
    ],
)
def test_words_are_joined(parts, place, words, found):
    assert join_words(parts, place) == (words, found)


@pytest.mark.parametrize(
    ("completion", "word", "part"),
    [
        ("quick", "q", "quick"),
        ("a.b=true", "a.b=t", "true"),
        ("a.b=true", "--set=a.b=t", "true"),
        ("quick", "--preset=q", "quick"),
        ("a.b=", "a.", "a.b="),
        ("net.py:build", "net.py:b", "build"),
        ("my sweeps/it's $1", "my", "my\\ sweeps/it\\'s\\ \\$1"),
        ("a.*.b=", "a.", "a.\\*.b="),
        ("日本/sweep", "日", "日本/sweep"),
    ],
)
def test_what_bash_replaces(completion, word, part):
    assert last_part(completion, word) == part
