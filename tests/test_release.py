"""The version, its date and the licence are the same wherever they are written."""

import re
import tomllib
from pathlib import Path

import yaml

import hwcls

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
RELEASE = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", re.MULTILINE)


def test_the_version_has_one_owner():
    assert PROJECT["dynamic"] == ["version"]
    newest, date = RELEASE.findall((ROOT / "CHANGELOG.md").read_text("utf-8"))[0]
    assert newest == hwcls.__version__ == str(CITATION["version"])
    assert date == str(CITATION["date-released"])


def test_the_changelog_keeps_to_its_form():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(RELEASE.match(f"## {heading}") for heading in headings[1:])
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_licence():
    assert PROJECT["license"] == CITATION["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    for pattern in PROJECT["license-files"]:
        assert list(ROOT.glob(pattern)), pattern


def test_every_file_of_others_is_in_the_notice():
    notice = (ROOT / "NOTICE").read_text("utf-8")
    vendored = [path for folder in (ROOT / "hwcls").rglob("vendor") for path in folder.iterdir()]
    data = [*(ROOT / "hwcls").rglob("*.npz"), *(path for path in vendored if path.suffix in (".js", ".ttf"))]
    assert len(data) == 3
    for path in data:
        assert str(path.relative_to(ROOT)) in notice


def test_forms_and_workflow_are_what_their_readers_expect():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text("utf-8"))
        assert {"name", "description", "body"} <= set(form)
        assert all(one["type"] in ("markdown", "textarea") for one in form["body"])
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text("utf-8")
    assert yaml.safe_load(workflow)["jobs"]["ci"]["steps"][-1] == {"run": "bash .ci/run"}
