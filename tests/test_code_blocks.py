"""Every code block of the documentation is run or checked, or a comment above it says why it is not."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import yaml

from hwcls.config.sweep_file import load_sweep
from hwcls.config.trial import DRAWN_SECTIONS
from hwcls.config.yaml_source import read_source
from tests.code_blocks import ROOT, all_blocks, blocks_of, commands_in

# text is what a program prints; the blocks of `{toctree}` are those of Sphinx
LANGUAGES = {"{include}", "sh", "python", "yaml", "json", "text", "{toctree}"}
REASONS = {  # details may follow after a semicolon
    "another test runs it",
    "changes this repository",
    "installs packages",
    "needs AWS",
    "needs a GPU",
    "needs a cluster",
    "needs data that is downloaded",
    "needs the network",
    "needs other machines",
    "needs results of another sweep",
    "serves until it is ended",
    "takes hours",
    "takes minutes",
}
SET_UP = (  # .ci/run and tests/test_wheel.py do it
    "python3 -m venv .venv && . .venv/bin/activate && pip install -e .",
    "pip install -e '.[test]' && pytest",
)
RUN_ELSEWHERE = {  # pages whose blocks of Python a test of their own runs
    "README.md": "tests/cli/test_readme.py",
    "docs/how-to/export.md": "tests/cli/test_readme.py",
    "docs/how-to/own_model.md": "tests/cli/test_readme.py",
    "docs/how-to/python.md": "tests/test_python_docs.py",
}
EXTEND = "docs/how-to/extend/"  # tests/test_contributing.py builds these, and uses their YAML
(OWN_MODEL,) = [block for block in blocks_of(ROOT / "docs/how-to/own_model.md") if block.language == "python"]
TRIAL = {"data": {"name": "digits"}, "model": "mlp", "optimizer": "adam", "epochs": 3}  # what a block leaves out


def test_every_block_names_its_language():
    assert [f"{block.where}: {block.language}" for block in all_blocks() if block.language not in LANGUAGES] == []


def test_the_reasons_why_blocks_are_not_run():
    found = Counter(block.reason.partition(";")[0] for block in all_blocks() if block.reason)
    assert found.keys() - REASONS == set()
    assert found.total() > 10


def test_shell_blocks_call_hwcls_or_say_why_they_are_not_run():
    run = [block for block in all_blocks("sh") if not block.reason]
    lines = [f"{block.where}: {command}" for block in run for command in commands_in(block)]
    assert [line for line in lines if ": hwcls " not in line and not line.endswith(SET_UP)] == []


def test_blocks_of_python_are_run():
    for page, test in RUN_ELSEWHERE.items():
        assert page in (ROOT / test).read_text("utf-8")
    other = [
        block.where
        for block in all_blocks("python")
        if not block.reason and block.page not in RUN_ELSEWHERE and not block.page.startswith(EXTEND)
    ]
    assert other == []


@pytest.mark.parametrize("block", all_blocks("json"), ids=lambda block: block.where)
def test_a_block_of_json_is_json(block):
    assert json.loads(block.text)


CHECKED = [block for block in all_blocks("yaml") if not block.page.startswith(EXTEND) and not block.reason]


@pytest.mark.parametrize("block", CHECKED, ids=lambda block: block.where)
def test_a_block_of_yaml_is_part_of_a_sweep_file(block, tmp_path):
    (tmp_path / "part.yaml").write_text(block.text)
    values = read_source(tmp_path / "part.yaml").values if yaml.safe_load(block.text) else {}
    trial = values.pop("parameters", {}) | {name: values.pop(name) for name in DRAWN_SECTIONS if name in values}
    limit = {} if {"run_cap", "budget"} & values.keys() else {"run_cap": 20}
    (tmp_path / "my_file.py").write_text(OWN_MODEL.text)
    (tmp_path / "block.yaml").write_text(json.dumps({**limit, **values, "parameters": TRIAL | trial}), "utf-8")
    load_sweep(tmp_path / "block.yaml")
