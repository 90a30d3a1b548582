"""The options for a user's own data, which several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from hwcls.cli.choose_run import choose_config, choose_recorded, choose_trial
from hwcls.cli.options import DataOptions, takes_data_options
from hwcls.errors import LayoutError, UserError
from hwcls.inspection.ensemble.model import is_ensemble
from hwcls.inspection.load_trained import trial_config

given: list[DataOptions] = []
app = typer.Typer()


@app.command()
@takes_data_options
def show(path: Annotated[Path, typer.Argument()], own: DataOptions, more: int = 3) -> None:
    """Show it."""
    given.append(own)
    if more == 4:
        raise LayoutError("two tables", where="x", remedy=lambda say: f"choose: {say('table', 'a b.csv')}")


def test_the_options_are_entries_of_the_data_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--label-column", "species", "--val-folder", "dev", "--test", "0.3"]
    assert CliRunner().invoke(app, ["photos", *words]).exit_code == 0
    layout = {"label_column": "species", "val_folder": "dev"}
    assert given.pop().entries() == {"layout": layout, "test": 0.3}
    CliRunner().invoke(app, ["photos"])
    assert given.pop().entries() == {}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").touch()
    CliRunner().invoke(app, ["photos", "--table", "a.csv"])
    assert given.pop().layout == {"table": str(tmp_path / "a.csv")}
    helped = CliRunner().invoke(app, ["--help"], terminal_width=200).output
    assert all(option in helped for option in ("--image-column", "--group", "--test", "--more", "Show it."))


def test_errors_about_the_data_name_options() -> None:
    error = CliRunner().invoke(app, ["photos", "--more", "4"]).exception
    assert isinstance(error, UserError)
    assert str(error) == "x: two tables — choose: --table 'a b.csv'"
    assert str(error.__context__) == "x: two tables — choose: data.layout.table: a b.csv"


@pytest.mark.parametrize("damage", ["a folder", "dangling link"])
def test_a_sweep_is_one_with_a_damaged_file_too(tmp_path: Path, damage: str) -> None:
    """Else it would be taken for a trial, and the error would not name the file."""
    (tmp_path / "trials" / "0").mkdir(parents=True)
    file = tmp_path / "sweep.yaml"
    if damage == "a folder":
        file.mkdir()
    else:
        file.symlink_to(tmp_path / "nowhere")
    context = typer.Context(typer.main.get_command(app))
    for choose in (choose_trial, choose_recorded):
        with pytest.raises(UserError) as found:
            choose(context, tmp_path)
        assert str(found.value).startswith(f"{file}: is damaged")
    with pytest.raises(UserError, match="is damaged"):
        choose_config(tmp_path)


@pytest.mark.parametrize("damage", ["a folder", "dangling link"])
def test_an_ensemble_is_one_with_a_damaged_file_too(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "ensemble.json"
    if damage == "a folder":
        file.mkdir()
    else:
        file.symlink_to(tmp_path / "nowhere")
    with pytest.raises((UserError, OSError)) as found:
        choose_trial(typer.Context(typer.main.get_command(app)), tmp_path)
    assert str(file) in str(found.value)
    for choose in (choose_config, trial_config):
        with pytest.raises(UserError, match="holds an ensemble"):
            choose(tmp_path)
    assert is_ensemble(tmp_path)
