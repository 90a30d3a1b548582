"""What the shell completes, by the protocols of bash, zsh and fish."""

import os
import shutil
import subprocess
import sys

import pytest

TOP = ["name=", "project=", "metric.", "metric=", "method=", "run_cap=", "budget=", "compare=", "share="]


def test_presets_of_the_file(here, complete):
    assert complete("sweep", "photos.yaml", "--preset", "") == ["quick", "large"]
    assert complete("sweep", "photos.yaml", "--preset", "q") == ["quick"]
    assert complete("check", "--steps", "3", "photos.yaml", "--preset", "") == ["quick", "large"]
    assert complete("sweep", "photos.yaml", "--preset", "=", "l") == ["large"]  # as bash breaks --preset=l
    assert complete("sweep", "photos.yaml", "--preset", "q", shell="zsh") == ["""_arguments '*: :(("quick"))'"""]
    assert complete("sweep", "photos.yaml", "--preset", "", shell="fish") == ["quick", "large"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("file", ["none.yaml", "broken.yaml", "results", "photos.yaml/x"])
@pytest.mark.parametrize("option", ["--preset", "--set"])
def test_a_missing_or_broken_file_completes_nothing(here, complete, file, option, shell):
    nothing = ["_files"] if shell == "zsh" else []  # zsh then offers files, as bash and fish do by themselves
    assert complete("sweep", file, option, "", shell=shell) == nothing


def test_alternatives_of_the_file(here, complete):
    assert complete("check", "photos.yaml", "--only", "") == ["cnn", "mlp"]
    assert complete("profile", "photos.yaml", "--only", "m") == ["mlp"]
    assert complete("check", "broken.yaml", "--only", "") == []


def test_settings_of_a_sweep(here, complete):
    assert complete("sweep", "photos.yaml", "--set", "")[: len(TOP)] == TOP
    assert complete("submit", "photos.yaml", "--set", "")[: len(TOP)] == TOP
    assert complete("sweep", "--set", "")[: len(TOP)] == TOP  # without a file, by what hwcls knows
    assert complete("sweep", "photos.yaml", "--set", "nothing.") == []
    assert complete("sweep", "photos.yaml", "--set", "run_cap=1", "--set", "kee") == [
        *("keep=", "keep=best", "keep=all", "keep=none")
    ]


def test_values_stand_behind_what_bash_takes_for_another_word(here, complete):
    path = "parameters.scheduler.name"
    every = ["constant", "plateau", "cosine", "one_cycle"]
    assert complete("sweep", "photos.yaml", "--set", path, "=") == every
    assert complete("sweep", "photos.yaml", "--set", path, "=", "c") == ["constant", "cosine"]
    assert complete("sweep", "photos.yaml", "--set", "=", path, "=", "p") == ["plateau"]
    found = complete("sweep", "photos.yaml", "--set", f"{path}=c", shell="fish")
    assert found == [f"{path}=constant", f"{path}=cosine"]


def test_names_of_data_sets_and_backbones(here, complete, monkeypatch):
    (here / "raw" / "my_photos").mkdir(parents=True)
    monkeypatch.setenv("HWCLS_DATA", str(here / "raw"))
    assert complete("data", "show", "my") == ["my_photos"]
    assert "cifar10" in complete("data", "fetch", "")
    assert "my_photos" not in complete("data", "fetch", "")
    assert complete("sweep", "photos.yaml", "--set", "parameters.data.name", "=", "m") == ["mnist", "my_photos"]
    names = complete("models", "res")
    assert {"residual_cnn", "resnet18", "resnet50", "results/"} <= set(names)
    key = "parameters.model.choice.*.backbone"
    assert "efficientnet_b3" in complete("sweep", "photos.yaml", "--set", key, "=", "efficientnet_b")


def test_settings_of_models_and_of_data(here, complete):
    assert complete("models", "simple_cnn", "--set", "") == ["name=", "width=", "depth=", "norm=", "head."]
    assert "backbone=" in complete("models", "resnet18", "--set", "")
    assert complete("models", "photos.yaml", "--set", "")[: len(TOP)] == TOP
    assert complete("data", "show", "digits", "--set", "augment.h") == ["augment.hflip=", "augment.hue="]


def test_folders_of_sweeps(here, complete):
    every = ["results/quick", r"results/with\ space", "results/team/large"]
    assert complete("report", "") == every
    assert complete("compare", "results/quick", "results/t") == ["results/team/large"]
    assert complete("sweep", "photos.yaml", "--from", "results/q") == ["results/quick"]
    assert complete("confirm", "results/") == every
    assert complete("report", f"{here}/results/q") == [f"{here}/results/quick"]
    assert complete("report", "photos/") == []
    assert complete("figures", "results/.") == ["results/.hidden"]
    assert complete("report", "results/q", shell="fish") == ["results/quick"]


def test_folders_in_the_home_folder(here, complete, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    assert complete("report", "~/results/q", shell="fish") == ["~/results/quick"]


def test_a_file_in_the_home_folder(here, complete, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    presets = complete("sweep", "photos.yaml", "--preset", "")
    assert presets
    assert complete("sweep", "~/photos.yaml", "--preset", "") == presets


def test_folders_of_trials(here, complete):
    trials = [f"results/quick/trials/{number}" for number in (0, 2, 10)]
    assert complete("evaluate", "results/q") == ["results/quick"]
    assert complete("evaluate", "results/quick/") == [*trials, "results/quick/confirm/cnn/7"]
    assert complete("train", "results/quick/trials/1") == ["results/quick/trials/10"]
    assert complete("explain", "results/quick/trials/0", "results/q") == [*trials, "results/quick/confirm/cnn/7"]
    assert complete("explain", "results/") == ["results/quick/", r"results/with\ space/", "results/team/large/"]
    assert complete("trials", "exclude", "results/quick", "") == ["0", "2", "10"]
    assert complete("trials", "exclude", "results/none", "") == []


def test_the_search_for_sweeps_has_an_end(here, complete, monkeypatch):
    monkeypatch.setattr("hwcls.cli.completion.folders.LOOKS", 1)
    assert len(complete("report", "results/")) < 3
    (here / "a/b/c/d").mkdir(parents=True)
    (here / "a/b/c/d/sweep.yaml").touch()
    assert complete("report", "a/") == []


def test_words_of_options(here, complete):
    assert complete("sweep", "--wandb", "o") == ["online", "offline", "off"]
    assert complete("evaluate", "--split", "") == ["val", "test", "train"]
    assert complete("data", "show", "digits", "--split", "t") == ["train", "test"]
    assert complete("export", "--format", "") == ["onnx", "torch"]
    assert complete("init", "--goal", "") == ["quick", "thorough"]


def test_the_words_are_those_that_commands_know(complete):
    from hwcls.figures.style import WIDTHS
    from hwcls.figures.tables import rows, text
    from hwcls.figures.write import FIGURES, FORMATS
    from hwcls.init.budget import GOALS

    assert complete("figures", "--format", "") == list(FORMATS)
    assert complete("figures", "--only", "") == list(FIGURES)
    assert complete("figures", "--width", "") == list(WIDTHS)
    assert complete("tables", "--format", "") == list(text.FORMATS)
    assert complete("tables", "--only", "") == list(rows.TABLES)
    assert complete("init", "--goal", "") == list(GOALS)


def test_no_version_is_printed_into_the_line(complete):
    assert complete("--version", "sw") == ["sweep"]


def test_code_is_not_trusted_while_a_line_is_completed(here, complete, monkeypatch):
    monkeypatch.setattr("hwcls.models.user.trust.accept_all", lambda: pytest.fail("it was"))
    assert complete("sweep", "photos.yaml", "--trust-code", "--preset", "q") == ["quick"]


def test_nothing_heavy_is_imported(here):
    """Completing takes as long as --help does, and what reads the schema a little longer."""
    code = """
import os, sys
from hwcls.cli.completion.bash_words import bash_completion
from hwcls.cli.main import app
for words in (["models", "res"], ["sweep", "photos.yaml", "--set", "parameters.data.name", "=", ""], ["report", ""]):
    words = ["hwcls", *words]
    os.environ |= {"COMP_WORDS": chr(10).join(words), "COMP_CWORD": str(len(words) - 1)}
    try:
        with bash_completion():
            app(prog_name="hwcls")
    except SystemExit:
        pass
print({"torch", "ray", "timm", "numpy", "optuna", "rich.table", "PIL"} & set(sys.modules), file=sys.stderr)
"""
    environ = {**os.environ, "_HWCLS_COMPLETE": "complete_bash"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert done.stderr == "set()\n"
    assert "resnet18" in done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself_after_the_installation(here):
    """It breaks `keep=a` into three words, and the function that hwcls installs completes the last of them."""
    command = here / "bin" / "hwcls"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom hwcls.cli import main\nmain()\n")
    command.chmod(0o755)
    script = """
        hwcls --install-completion
        source ~/.bash_completions/hwcls.sh
        complete -p hwcls
        COMP_WORDS=(hwcls sweep photos.yaml --set keep = a) COMP_CWORD=6
        _hwcls_completion hwcls
        echo "<${COMPREPLY[*]}>"
    """
    environ = {**os.environ, "HOME": str(here), "PATH": f"{command.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", script], env=environ, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert "complete -o default -F _hwcls_completion hwcls\n" in done.stdout
    assert done.stdout.endswith("<all>\n")
    assert "hwcls.sh" in (here / ".bashrc").read_text()
