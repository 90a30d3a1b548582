"""`hwcls init` on folders of images, with measured times that are given."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.config.data import DataConfig
from hwcls.config.sweep import parse_duration
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.format import format_duration
from hwcls.init import create
from hwcls.init.budget import QUICK
from hwcls.init.describe import describe_written
from hwcls.sweep.preflight.timing import Timing, TrialTime

runner = CliRunner()


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """12 and 6 training images of 20 x 16 pixels, as many for test, in photos/ of the current folder."""
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for name, count in (("cat", 12), ("dog", 6)):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw.integers(0, 256, (16, 20, 3), np.uint8)).save(folder / f"{number}.png")
    return tmp_path


@pytest.fixture(autouse=True)
def no_weights(monkeypatch):
    """None are on this machine."""
    monkeypatch.setattr(create, "may_have_weights", lambda: False)


@pytest.fixture
def measured(monkeypatch):
    """No process is started: an epoch of each model takes a tenth of a second, a start three."""
    monkeypatch.setattr(
        create, "time_models", lambda models, data: Timing(3.0, {one.label: [TrialTime(0.5, 0.1)] for one in models})
    )


def run(*words):
    return runner.invoke(app, ["init", *words], catch_exceptions=False)


def test_a_folder_becomes_a_sweep_file(photos, measured):
    done = run("photos/")
    assert done.exit_code == 0, done.output
    assert "18 train, 18 test; val is cut off train, of every class alike" in done.output
    assert "\n  16 pixels on the short side\n" in done.output
    assert "6 (dog) to 12 (cat) training images of a class, 2 times as many: uneven" in done.output
    assert done.output.endswith("next:\n  hwcls sweep photos.yaml\n  hwcls predict results/photos NEW_IMAGES\n")
    sweep = load_sweep(Path("photos.yaml"))
    assert sweep.config.name == "photos"
    assert sweep.config.metric.name == "val/macro_f1"
    trial = sweep.corners[0]
    assert trial.data.path == str(photos / "photos")
    assert (trial.data.image_size, trial.class_weights, trial.data.augment) == (16, "balanced", None)
    assert [one.label for one in sweep.alternatives] == ["cnn", "residual"]
    assert sorted(os.listdir(photos)) == ["photos", "photos.yaml"]


def test_weights_that_are_here_are_probed_and_fine_tuned(photos, monkeypatch):
    def time_models(models, data):
        times = {one.label: [TrialTime(0.5, 0.01 if one.label == "probe" else 0.1)] for one in models}
        return Timing(3.0, times, (0.5,) if "probe" in times else ())

    monkeypatch.setattr(create, "may_have_weights", lambda: True)
    monkeypatch.setattr(create, "find_offline_weights", "tf_efficientnet_lite0".__eq__)
    monkeypatch.setattr(create, "time_models", time_models)
    done = run("photos/", "--mirror")
    assert done.exit_code == 0, done.output
    sweep = load_sweep(Path("photos.yaml"))
    assert [one.label for one in sweep.alternatives] == ["cnn", "residual", "probe", "fine_tuned"]
    (seconds,) = re.findall(r"the features of probe take (.+) here, once for all of its trials", done.output)
    assert f"then a trial trains a head in seconds ({seconds} here)" in Path("photos.yaml").read_text()


def test_nothing_is_overwritten(photos, measured):
    Path("photos.yaml").write_text("mine")
    done = run("photos/")
    assert done.exit_code == 2
    assert "photos.yaml: exists, and is not overwritten — write another one with --out FILE" in done.output
    assert Path("photos.yaml").read_text() == "mine"
    other = run("photos/", "--out", "other.yaml")
    assert other.exit_code == 0
    assert load_sweep(Path("other.yaml")).config.name == "other"  # or its results would be those of photos.yaml
    assert "hwcls predict results/other NEW_IMAGES" in other.output
    assert Path("photos.yaml").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(photos, monkeypatch):
    Path("file").write_text("mine")
    monkeypatch.setattr(create, "time_models", None)
    done = run("photos/", "--out", "file/photos.yaml")
    assert done.exit_code == 2
    assert "file: is no folder — name another file: --out FILE" in done.output
    monkeypatch.setattr("os.access", lambda *_: False)
    done = run("photos/", "--out", "new/photos.yaml")
    assert done.exit_code == 2
    assert f"{Path.cwd()}: cannot be written" in done.output


def test_a_name_that_is_taken_meanwhile_is_kept(photos, monkeypatch):
    Path("taken.yaml").write_text("mine")
    Path("new").write_text("new")
    monkeypatch.setattr(create, "check_free", lambda path: None)
    with pytest.raises(FileExistsError):
        os.link("new", "taken.yaml")
    create._rename_new(Path("new"), Path("taken.yaml"))
    assert Path("taken.yaml").read_text() == "mine"


def test_standard_input_is_not_read_where_it_is_no_terminal(photos, measured):
    done = runner.invoke(app, ["init", "photos/"], input="n\n", catch_exceptions=False)
    assert "mirrored" not in done.output
    assert "    # augment: {hflip: true}" in Path("photos.yaml").read_text()


@pytest.mark.parametrize(("another", "hflip"), [(True, False), (False, True)])
def test_a_question_on_a_terminal(another, hflip, photos, measured, monkeypatch):
    asked = []
    monkeypatch.setattr("hwcls.cli.commands.init_doctor.can_ask", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda text, **_: asked.append(text) or another)
    assert run("photos/").exit_code == 0
    assert asked == ["May a mirrored image be another class?"]
    assert load_sweep(Path("photos.yaml")).corners[0].data.augment.hflip is hflip


def test_a_folder_without_splits(photos, measured):
    os.rename("photos/train", "cats and dogs")
    done = run("cats and dogs")
    assert "14 train, 4 test; test (20%) and val are cut off train, of every class alike" in done.output
    data = load_sweep(Path("cats_and_dogs.yaml")).corners[0].data
    assert (data.test, data.val, data.path) == (0.2, 0.25, str(photos / "cats and dogs"))


def test_a_table(photos, measured):
    os.rename("photos/train/cat", "cats")
    Path("cats/labels.csv").write_text("image,kind\n" + "".join(f"{i}.png,k{i % 2}\n" for i in range(12)))
    assert run("cats", "--label-column", "kind", "--test", "0.4").exit_code == 0
    data = load_sweep(Path("cats.yaml")).corners[0].data
    assert (data.layout.label_column, data.test) == ("kind", 0.4)


def test_how_a_table_was_read_is_kept(photos, measured):
    os.rename("photos/train/cat", "cats")
    Path("cats/labels.csv").write_text("image,kind\n" + "".join(f"{i}.png,k{i % 2}\n" for i in range(12)))
    assert run("cats").exit_code == 0
    table = {"table": "labels.csv", "image_column": "image", "label_column": "kind"}
    data = load_sweep(Path("cats.yaml")).corners[0].data
    assert data.layout.model_dump(exclude_none=True, exclude={"label"}) == table
    first = create.look(data, create.Goal("quick", 1, (8, 9), 1, None), print).data
    Path("cats/another.csv").write_text("image,kind\n" + "".join(f"{i}.png,k{i % 3}\n" for i in range(12)))
    assert run("cats", "--out", "new.yaml").exit_code == 2  # two tables
    assert create.look(data, create.Goal("quick", 1, (8, 9), 1, None), print).data == first


class Machine:
    """Measures models without training them: seconds of an epoch of each at 64 x 64 pixels, less at fewer."""

    def __init__(self, **seconds):
        self.seconds, self.asked = seconds, []

    def __call__(self, models, data):
        self.asked.append(
            (data.image_size, [model.label for model in models], models[0].settings["width"]["values"][0])
        )
        epochs = {one.label: self.seconds[one.label] * (data.image_size / 64) ** 2 for one in models}
        return Timing(3.0, {label: [TrialTime(0.1, epoch)] for label, epoch in epochs.items()})


@pytest.fixture
def large(photos, monkeypatch):
    """What is written for 2,000 training images of 300 pixels that a machine trains so fast."""
    many = create.DataFacts(
        ("a", "b"), {"train": (900, 900), "val": (100, 100), "test": (250, 250)}, {"val": 0.1}, (300,) * 3, None
    )
    monkeypatch.setattr("hwcls.data.imageset.open_data", lambda config: None)

    def write(seconds=360.0, pixels=64, **speeds):
        machine = Machine(**speeds)
        monkeypatch.setattr(create, "time_models", machine)
        config = DataConfig(path="photos", image_size=pixels)
        side = create.Choice("parameters.data.image_size", pixels, "")
        found = create.Found(config, side, many, create.MachineFacts(2, 0, 2), None)
        Path("photos.yaml").unlink(missing_ok=True)
        wish = create.Wish("photos", "photos", QUICK, seconds)
        return machine.asked, create.create(found, wish, Path("photos.yaml"), print)

    return write


def test_each_size_is_measured_with_one_line(large, capsys):
    asked, _ = large(pixels=32, cnn=400.0, residual=1200.0)
    assert [width for _, _, width in asked] == [16, 8]  # again with a narrower network
    assert capsys.readouterr().out == "measuring how fast this machine trains, at 32 x 32 pixels\n"


def test_a_slow_network_is_measured_only_where_there_is_time(large):
    asked, written = large(cnn=1.0, residual=3.0)
    assert [labels for _, labels, _ in asked] == [["cnn"], ["residual"]]
    assert written.schedule.models == ("cnn", "residual")
    asked, written = large(cnn=10.0, residual=30.0)
    assert asked == [(64, ["cnn"], 16)]
    assert written.plan["parameters.model.choice.residual"].active is False


@pytest.mark.parametrize(("epoch", "goal"), [(10.0, ""), (40.0, " --goal quick"), (100.0, " --goal quick")])
def test_a_single_model_is_said_with_the_time_for_two(epoch, goal, large):
    """Also where trainings were made cheaper, as more time makes them dear again."""
    _, written = large(cnn=epoch, residual=2 * epoch)
    assert written.schedule.models == ("cnn",)
    (note,) = [line for line in describe_written(written) if "compared" in line]
    found = re.fullmatch(
        r"note: only cnn fits into 6 min, so no models are compared: --for (\w+)(.*) gives about enough time for two",
        note,
    )
    assert found is not None, note
    assert found[2] == goal
    _, written = large(float(parse_duration(found[1])), cnn=epoch, residual=2 * epoch)
    assert written.schedule.models == ("cnn", "residual")
    assert not [line for line in describe_written(written) if "compared" in line]


@pytest.mark.parametrize(
    ("epoch", "sides", "epochs", "share"),
    [(10.0, [64], 8, 0.75), (25.0, [64, 48], 8, 0.5), (60.0, [64, 32], 8, 0.5), (100.0, [64, 32], 5, 0.5)],
)
def test_pixels_are_left_out_before_images(epoch, sides, epochs, share, large):
    asked, written = large(cnn=epoch, residual=3 * epoch)
    assert list(dict.fromkeys(side for side, _, _ in asked)) == sides
    assert written.plan.value("parameters.data.image_size") == sides[-1]
    assert written.plan.value("parameters.epochs") >= epochs
    assert written.schedule.share >= share
    assert written.plan.seconds == 360
    assert any(line.startswith("note: only") for line in describe_written(written)) is (written.schedule.share < 1)


def test_a_time_that_cannot_be_kept_is_said_once(large):
    asked, written = large(cnn=2000.0, residual=9000.0)
    assert asked[-1] == (32, ["cnn"], 8)
    assert written.plan.seconds > 400
    notes = [line for line in describe_written(written) if "too short" in line]
    minutes = -(-written.plan.seconds // 60)
    assert notes == [
        "note: 6 min are too short on this machine, with as few images and epochs as make sense: "
        f"--for {minutes:.0f}m, or fewer classes (data.classes), or a faster machine"
    ]
    text = Path("photos.yaml").read_text()
    assert f"of about {format_duration(written.plan.seconds)} in all" in text
    assert text.splitlines()[1].startswith(f"# About {format_duration(written.plan.seconds)}, as 6 min are too short")


@pytest.mark.parametrize(("option", "hflip"), [("--mirror", True), ("--no-mirror", False)])
def test_an_answer_as_an_option(option, hflip, photos, measured):
    assert run("photos/", option).exit_code == 0
    assert load_sweep(Path("photos.yaml")).corners[0].data.augment.hflip is hflip


def test_unreadable_images_are_left_out_by_an_import_that_init_takes(photos, measured):
    """All are named at once, and what the error says is what works."""
    bad = [f"train/{name}/{i}.png" for name in ("cat", "dog") for i in (2, 3)]
    for name in bad:
        Path("photos", name).write_bytes(b"")
    done = run("photos/")
    assert done.exit_code == 2
    for name in bad:
        assert name in done.output
    command = f"hwcls data import photos_readable {Path('photos').resolve()} --skip-corrupt"
    assert f"{command}, then hwcls init photos_readable or data: {{name: photos_readable}}" in done.output
    assert not Path("photos.yaml").exists()
    assert runner.invoke(app, command.split()[1:], catch_exceptions=False).exit_code == 0
    done = run("photos_readable")
    assert done.exit_code == 0, done.output
    assert "14 train, 18 test" in done.output
    data = load_sweep(Path("photos_readable.yaml")).corners[0].data
    assert (data.name, data.path, data.image_size) == ("photos_readable", None, 16)


def test_json(photos, measured):
    done = run("photos", "--json", "--for", "10m")
    found = json.loads(done.stdout)
    assert found["images"]["train"] == {"cat": 11, "dog": 5}
    assert found["file"] == "photos.yaml"
    assert {choice["key"] for choice in found["choices"]} >= {"metric", "budget", "parameters.epochs"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "nothing: no such folder or archive, and nothing was imported under this name"),
        (["digits"], "digits: no such folder or archive, and"),
        (["photos", "--goal", "fast"], "--goal: no goal 'fast' — known: quick, thorough"),
        (["photos", "--for", "soon"], "--for: 'soon' is not a duration — write 2h, 90m, 1h30m or a number of seconds"),
        (["photos", "--for", "30s"], "--for: 30s is too short for a sweep — give it 2m or more"),
    ],
)
def test_bad_usage(words, message, photos, measured):
    done = run(*words)
    assert (done.exit_code, message in done.output) == (2, True), done.output


def test_a_file_that_is_no_sweep_file_is_not_put_in_place(photos):
    with pytest.raises(UserError, match="parameters"):
        create._load("name: x\nrun_cap: 2\n", Path("x.yaml"), keep=True)
    assert sorted(os.listdir()) == ["photos"]
