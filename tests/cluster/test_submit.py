"""What is sent to a cluster, and what is said where that cannot be."""

import pytest
from typer.testing import CliRunner

from hwcls.cli import app, submit  # noqa: F401  (adds the command)
from hwcls.config.load import load_sweep
from hwcls.errors import UserError
from hwcls.sweep.submit import collect

MODEL = (
    "import helper\n\ndef build(classes, channels, image_size):\n    return helper.net(classes, channels, image_size)\n"
)
HELPER = """
from torch import nn


def net(classes, channels, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, classes))
"""


@pytest.fixture
def own(sweep_file, tmp_path, monkeypatch):
    """A sweep of the user's own model, which imports from beside it, in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/net.py").write_text(MODEL)
    (tmp_path / "mine/helper.py").write_text(HELPER)
    (tmp_path / "mine/secret.py").write_text("WANDB = 'a key'\n")
    return lambda name="mine/net.py:build": sweep_file(compare=None, parameters={"model": {"name": name}})


def test_the_file_and_the_models_are_sent_and_nothing_else(own, tmp_path):
    file = own()
    (tmp_path / "sent").mkdir()
    collect(load_sweep(file), file, tmp_path / "sent")
    found = {str(path.relative_to(tmp_path / "sent")) for path in (tmp_path / "sent").rglob("*") if path.is_file()}
    assert found == {"tiny.yaml", "mine/net.py", "mine/helper.py"}


def test_a_model_that_the_head_would_not_find(own, tmp_path):
    file = own(f"{tmp_path}/mine/net.py:build")
    (tmp_path / "sent").mkdir()
    with pytest.raises(UserError, match="name it by its path below"):
        collect(load_sweep(file), file, tmp_path / "sent")


def test_a_head_that_does_not_answer(own):
    done = CliRunner().invoke(app.app, ["submit", str(own()), "--address", "http://127.0.0.1:1"])
    assert done.exit_code == 2
    assert "no cluster answers" in done.output
    assert "ray dashboard cluster.yaml" in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_a_cluster_that_does_not_answer(own, tmp_path):
    """At once, where Ray itself would wait for minutes; and nothing is left behind."""
    from hwcls.cli import sweep  # noqa: F401  (adds the command)

    words = ["sweep", str(own()), "--address", "127.0.0.1:1", "--results", str(tmp_path / "results"), "--wandb", "off"]
    done = CliRunner().invoke(app.app, words)
    assert done.exit_code == 2
    assert "no Ray cluster answers at '127.0.0.1:1'" in done.output
    assert not list((tmp_path / "results").glob("*/trials"))
