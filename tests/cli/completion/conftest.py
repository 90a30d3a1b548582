"""What the tests of completion share."""

import shlex

import pytest

from hwcls.cli.completion.bash_words import bash_completion
from hwcls.cli.main import app

SWEEP = """
name: photos
run_cap: 12
compare: model
parameters:
  data: {name: digits, batch_size: {values: [16, 32]}}
  model:
    head: {depth: {min: 1, max: 3}}
    choice:
      cnn: {name: simple_cnn, width: {values: [16, 32]}}
      mlp: {}
  optimizer: {name: sgd, lr: {min: 1e-4, max: 1e-2, log: true}}
  scheduler: plateau
presets:
  quick: {run_cap: 2}
  large: {run_cap: 99}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder with a sweep file, a broken one, and results."""
    (tmp_path / "photos.yaml").write_text(SWEEP)
    (tmp_path / "broken.yaml").write_text("presets: {quick: [\n")
    for sweep in ("results/quick", "results/team/large", "results/with space"):
        for run in ("trials/0", "trials/2", "trials/10", "confirm/cnn/7"):
            (tmp_path / sweep / run).mkdir(parents=True)
            (tmp_path / sweep / run / "config.yaml").touch()
        (tmp_path / sweep / "sweep.yaml").touch()
    for other in ("results/.hidden", "results/notes", "photos/cats"):
        (tmp_path / other).mkdir(parents=True)
    (tmp_path / "results/.hidden/sweep.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def complete(monkeypatch, capsys):
    """Completes the last of some words by the protocol of a shell, and returns the lines that it prints."""

    def complete(*words: str, shell: str = "bash") -> list[str]:
        words = ("hwcls", *words)
        monkeypatch.setenv("_HWCLS_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", " ".join([*map(shlex.quote, words[:-1]), words[-1]]))
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        with pytest.raises(SystemExit), bash_completion():
            app(prog_name="hwcls")
        shown = capsys.readouterr()
        assert shown.err == ""
        return [line for line in shown.out.splitlines() if line]

    return complete
