"""The commands around a model: exit codes, JSON, files."""

import csv
import io
import json
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from hwcls.config.trial import TrialConfig

TRIAL = {
    "data": {"name": "digits", "per_class": 40, "batch_size": 64},
    "model": {"name": "mlp", "width": 16, "depth": 1},
    "optimizer": {"name": "adam", "lr": 0.01},
    "epochs": 2,
}
SWEEP = """
run_cap: 4
compare: model
parameters:
  data: {name: digits, per_class: 40}
  model: {choice: {small: {name: mlp, width: 16, depth: 1}, cnn: {name: simple_cnn, width: 4}}}
  optimizer: {name: adam}
presets: {broken: {parameters.model.choice.cnn.depth: 4}}
"""


@pytest.fixture
def invoke():
    from hwcls.cli.main import app

    return lambda *words: CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import torch

    from hwcls.inspection import create_recorder
    from hwcls.training.local import train

    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("sweep")
    (path / "sweep.yaml").write_text("name: made\n")
    train(TrialConfig.from_dict(TRIAL), path / "trials" / "0", lambda line: None, create_recorder)
    return path / "trials" / "0"


@pytest.mark.parametrize("words", ["check", "profile", "evaluate", "predict", "inspect", "export"])
def test_documented(invoke, words):
    done = invoke(words, "--help")
    assert done.exit_code == 0
    assert "Example: hwcls" in done.output


def test_a_sweep_stands_for_its_best_trial(invoke, folder):
    named = json.loads(invoke("evaluate", folder, "--json").stdout)
    done = invoke("evaluate", folder.parents[1], "--json")
    assert json.loads(done.stdout) == named
    assert "model: trial 0, the best on validation: val/accuracy " in done.stderr


def test_evaluate_says_that_the_images_have_changed(invoke, folder, monkeypatch):
    assert invoke("evaluate", folder, "--json").stderr == ""
    monkeypatch.setattr("hwcls.inspection.load_trained.Trained.changed_images", lambda self, split: f"{split}: changed")
    assert invoke("evaluate", folder, "--json").stderr == "val: changed\n"
    assert "train: changed\n" in invoke("evaluate", folder, "--split", "train").stderr


def test_what_trains_takes_a_sweep_too(invoke, folder, tmp_path):
    sweep = folder.parents[1]
    done = invoke("profile", sweep, "--steps", "1", "--out", tmp_path / "profile", "--json")
    assert list(json.loads(done.stdout)) == [folder.name]
    again = invoke("train", sweep, "--out", tmp_path / "again", "--json")
    assert f"training it into {tmp_path / 'again'}" in again.stderr
    for name in ("best.safetensors", "config.yaml"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_check_a_sweep_file(invoke, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SWEEP)
    done = invoke("check", path)
    assert done.exit_code == 0, done.output
    assert "2 of 2 models" in done.output
    assert "small: passed" in done.output
    broken = invoke("check", path, "--preset", "broken", "--json")
    assert broken.exit_code == 1
    found = json.loads(broken.stdout)
    assert found["failed"] == ["cnn"]
    assert "too small" in found["checks"]["cnn"]["reason"]
    assert found["checks"]["small"]["passed"]
    assert invoke("check", path, "--preset", "broken", "--only", "small", "--set", "seed=1").exit_code == 1
    assert "did you mean 'small'" in invoke("check", path, "--only", "smal").stderr


def test_check_a_trial(invoke, folder):
    assert invoke("check", folder).exit_code == 0
    refused = invoke("check", folder, "--set", "run_cap=1")
    assert refused.exit_code == 2
    assert "this is a trial" in refused.stderr


def test_profile(invoke, folder, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(SWEEP)
    words = ("profile", path, folder, "--only", "cnn", "--steps", 2, "--out", tmp_path / "traces")
    assert invoke(*words).exit_code == 2  # a trial has no alternative of that name
    done = invoke("profile", path, "--only", "cnn", "--steps", 2, "--out", tmp_path / "traces", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert list(found) == ["cnn"]
    assert (tmp_path / "traces" / "cnn.trace.json").is_file()
    table = invoke("profile", folder, "--steps", 2, "--out", tmp_path / "traces")
    assert "step ms" in table.output
    assert "memory: tensors" in table.output


def test_models_of_one_name_are_all_profiled(invoke, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "b.yaml", "c.yaml"):
        (tmp_path / name).write_text(SWEEP)
    words = ("a.yaml", "b.yaml", "c.yaml", "c.yaml", "--only", "small", "--steps", 1, "--json")
    assert list(json.loads(invoke("profile", *words).stdout)) == ["small", "b-small", "c-small", "c-small-2"]
    sweep = folder.parents[1]
    trials = json.loads(invoke("profile", folder, folder / "config.yaml", sweep, "--steps", 1, "--json").stdout)
    assert list(trials) == ["0", f"{sweep.name}-0", f"{sweep.name}-0-2"]


def test_evaluate(invoke, folder, tmp_path):
    done = invoke("evaluate", folder, "--grid", tmp_path / "grid.png", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["split"] == "val"
    assert np.array(found["confusion"]).sum() == found["images"]
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.width > 500
    table = invoke("evaluate", folder)
    images = f"val, {found['images']:,} images (which chose the model; --split test reads test): accuracy 0."
    assert table.stdout.startswith(images)
    assert "weighted average" in table.output
    assert "true \\ predicted" in table.output


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        (("7", "12"), ["7 12", "7 3 0", "12 1 2"]),
        (("7", "cat"), ["0 1", "0 7 3 0", "1 cat 1 2"]),
        (("7", "2019"), ["0 1", "0 7 3 0", "1 2019 1 2"]),
    ],
    ids=["numbers", "words", "long numbers"],
)
def test_classes_that_are_numbers_are_named_once_in_the_confusion_matrix(names, rows, capsys):
    from hwcls.cli.commands.evaluate_predict import _print_scores

    mean = {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    found = {"accuracy": 1.0, "top5": None, "auc": None, "ece": 0.1, "loss": 0.1, "split": "val", "images": 6}
    classes = [{"class": name, **mean, "auc": None, "images": 3} for name in names]
    _print_scores({**found, "macro": mean, "weighted": mean, "classes": classes, "confusion": [[3, 0], [1, 2]]})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[-3:] == [f"true \\ predicted {rows[0]}", *rows[1:]]


def test_evaluate_on_test_is_noted_and_counted(invoke, folder, monkeypatch):
    reads = folder.parent.parent / "test_reads.jsonl"
    assert not reads.exists()
    monkeypatch.chdir(folder.parent)
    done = invoke("evaluate", "0", "--split", "test")
    assert done.exit_code == 0
    assert "test has now been read once outside confirm" in done.stderr
    assert " images: accuracy 0." in done.stdout
    (line,) = reads.read_text().splitlines()
    assert json.loads(line)["trial"] == "trials/0"


def test_predict(invoke, folder, tmp_path):
    for place in range(3):
        Image.new("L", (20, 20), 80 * place).save(tmp_path / f"{place}.png")
    found = json.loads(invoke("predict", folder, tmp_path, "--top", 2, "--json").stdout)
    assert [len(prediction["top"]) for prediction in found] == [2, 2, 2]
    (tmp_path / "bad.png").write_bytes(b"nothing")
    some = invoke("predict", folder, tmp_path)
    assert some.exit_code == 1
    assert "bad.png: cannot be read (" in some.stderr
    assert "2.png" in some.stdout
    assert invoke("predict", folder, tmp_path / "bad.png").exit_code == 2
    assert invoke("predict", folder, tmp_path / "none.png").exit_code == 2


@pytest.fixture
def photos(tmp_path):
    """Three images and a damaged one."""
    for place in range(3):
        Image.new("L", (20, 20), 80 * place).save(tmp_path / f"{place}.png")
    (tmp_path / "=bad.png").write_bytes(b"nothing")
    return tmp_path


def test_predictions_as_files(invoke, folder, photos, monkeypatch):
    monkeypatch.chdir(photos)
    printed = {kind: invoke("predict", folder, "*.png", "--top", 2, f"--{kind}") for kind in ("csv", "json", "jsonl")}
    for kind, done in printed.items():
        assert done.exit_code == 1, done.output
        written = invoke("predict", folder, "*.png", "--top", 2, "--out", f"new/found.{kind}")
        assert written.exit_code == 1
        assert written.stdout == f"new/found.{kind}: 4 images\n"
        assert (photos / "new" / f"found.{kind}").read_text() == done.stdout
    rows = list(csv.DictReader(io.StringIO(printed["csv"].stdout)))
    assert [row["file"] for row in rows] == ["0.png", "1.png", "2.png", "'=bad.png"]
    lines = [json.loads(line) for line in printed["jsonl"].stdout.splitlines()]
    assert lines == json.loads(printed["json"].stdout)
    for row, line in zip(rows[:3], lines[:3], strict=True):
        top = line["top"]
        assert [row["class"], row["class_2"]] == [one["class"] for one in top]
        assert float(row["probability"]) == pytest.approx(top[0]["probability"], abs=1e-6)
        assert line["margin"] == pytest.approx(top[0]["probability"] - top[1]["probability"], abs=1e-6)
    every = json.loads(invoke("predict", folder, "1.png", "-k", 99, "--json").stdout)[0]
    shares = np.array([one["probability"] for one in every["top"]])
    assert len(shares) == 10
    assert every["entropy"] == pytest.approx(-(shares * np.log(shares)).sum(), abs=1e-5)
    margins = [line["margin"] for line in lines[:3]]
    ordered = invoke("predict", folder, "*.png", "--sort", "uncertainty", "--jsonl").stdout.splitlines()
    assert [json.loads(line).get("margin") for line in ordered] == [*sorted(margins), None]


def test_a_file_of_predictions_is_whole_or_not_there(invoke, folder, photos, monkeypatch):
    out = photos / "found.csv"
    out.write_text("mine")
    assert "exists already" in invoke("predict", folder, photos, "--out", out).stderr
    assert out.read_text() == "mine"

    def broken(*arguments):
        yield from ()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hwcls.inspection.predictions.predict_batches", broken)
        assert invoke("predict", folder, photos, "--out", out, "--overwrite").exit_code == 130
    assert out.read_text() == "mine"
    assert invoke("predict", folder, photos, "--out", out, "--overwrite").exit_code == 1
    assert out.read_text().startswith("file,class,probability,class_2")
    assert sorted(path.name for path in photos.iterdir() if path.suffix != ".png") == ["found.csv"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--csv", "--jsonl"), "--csv and --jsonl exclude each other — leave one of them out"),
        (("--json", "--out", "a.csv"), "--json and --out exclude each other"),
        (("--out", "a.txt"), "a.txt: has no known ending — known: .csv, .json, .jsonl"),
        (("--out", "."), "is a folder"),
        (("nothing*.png",), "'nothing*.png': matches no file"),
    ],
)
def test_predict_refuses(invoke, folder, photos, monkeypatch, words, message):
    monkeypatch.chdir(photos)
    done = invoke("predict", folder, "0.png", *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_missing_images_are_said_before_the_run_that_was_chosen(invoke, folder):
    done = invoke("predict", folder.parents[1])
    assert done.exit_code == 2
    assert "hwcls: missing argument 'images' — see " in done.stderr
    assert str(folder) not in done.stderr


def test_predict_reads_names_and_urls(invoke, folder, photos, monkeypatch):
    from typer.testing import CliRunner

    from hwcls.cli.main import app

    monkeypatch.chdir(photos)
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *words: None)
    url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        given = f"1.png\n{url}/1.png?token=s3cret\n{url}/none.png?token=s3cret\n{url}/=bad.png\n1.png\n"
        done = CliRunner().invoke(app, ["predict", str(folder), "-", "0.png", "--jsonl"], input=given)
    finally:
        server.shutdown()
        server.server_close()
    assert done.exit_code == 1, done.output
    found = [json.loads(line) for line in done.stdout.splitlines()]
    hidden = f"{url}/1.png?token=***"
    assert [one["file"] for one in found][:2] == ["1.png", hidden]
    assert found[0]["top"] == found[1]["top"]
    assert [one.get("error") for one in found] == [None, None, "HTTP 404, not found", "of no known image format", None]
    assert f"{url}/none.png?token=***: cannot be read (HTTP 404, not found) — check the address" in done.stderr
    assert "s3cret" not in done.output


def test_predict_says_how_many_folders_agree(invoke, folder, photos):
    classes = json.loads(invoke("predict", folder, photos / "0.png", "-k", 10, "--json").stdout)[0]["top"]
    for place, name in (("a", classes[0]["class"]), ("b", classes[1]["class"])):
        (photos / place / name).mkdir(parents=True)
        (photos / "0.png").rename(photos / place / name / "0.png") if place == "a" else Image.new("L", (20, 20)).save(
            photos / place / name / "1.png"
        )
    line = (
        "images whose folder has the name of the predicted class: 1 of 2 (50.0%); any that it was trained on count, too"
    )
    assert line in invoke("predict", folder, photos / "a", photos / "b").stderr
    assert line not in invoke("predict", folder, photos / "a", photos / "b", photos / "1.png").stderr


def test_predict_goes_on_where_a_named_file_is_missing(invoke, folder, photos):
    done = invoke("predict", folder, photos / "none.png", photos / "0.png", "--jsonl")
    assert done.exit_code == 1
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one.get("error") for one in found] == ["no such file or directory", None]
    missing = f"hwcls: {photos / 'none.png'}: cannot be read (no such file or directory) — check its name"
    assert done.stderr.splitlines() == [missing]
    assert invoke("predict", folder, photos / "none.png", photos / "no.png").exit_code == 2


def test_predict_explains(invoke, folder, photos, monkeypatch):
    monkeypatch.chdir(photos)
    done = invoke("predict", folder, "*.png", "--explain", "why", "--csv")
    assert done.exit_code == 1, done.output
    assert "note: it ends with no feature map, so occlusion explains it instead of Grad-CAM" in done.stderr
    assert "explained in why; the first 3 together: why/explain.png" in done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["explanation"] for row in rows] == ["why/0.png", "why/1.png", "why/2.png", ""]
    assert sorted(path.name for path in (photos / "why").iterdir()) == ["0.png", "1.png", "2.png", "explain.png"]
    again = invoke("predict", folder, "*.png", "--explain", "why")
    assert again.exit_code == 2
    assert "why/0.png, why/1.png, why/2.png and 1 more: exists already" in again.stderr
    monkeypatch.setattr("hwcls.inspection.heat_maps.find_spec", lambda name: None)
    missing = invoke("predict", folder, "*.png", "--explain", "other")
    assert missing.exit_code == 2
    assert missing.stderr == "hwcls: --explain needs captum — pip install 'hwcls[explain]'\n"
    assert not (photos / "other").exists()


@pytest.fixture
def in_photos(folder, tmp_path, monkeypatch):
    """The current folder is that of the user's own photos, on which the trial was trained."""
    for place in range(12):
        path = tmp_path / "photos" / "ab"[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(place).integers(0, 256, (8, 8), np.uint8)).save(path)
    monkeypatch.chdir(tmp_path / "photos")
    changed = {"data": {"path": str(tmp_path / "photos"), "image_size": 8}}
    trial = shutil.copytree(folder, tmp_path / "photos" / "results" / "made" / "trials" / "0")
    config = TrialConfig.from_dict({**TRIAL, **changed})
    (trial / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    for name in ("sweep.yaml", ".lock"):  # which make it a folder of results, that is no class
        (trial.parents[1] / name).write_text("name: made\n")
    return trial


@pytest.mark.parametrize("words", ["predict TRIAL a/0.png --explain OUT", "inspect TRIAL --out OUT"])
def test_pictures_do_not_become_a_class(invoke, in_photos, words):
    photos = in_photos.parents[3]

    def run(out):
        return invoke(*words.replace("TRIAL", str(in_photos)).replace("OUT", str(out)).split())

    for out in ("why", "a", photos / "why" / "again"):
        done = run(out)
        assert done.exit_code == 2, done.output
        what = f"{out}: lies in the data's folder {photos}: its pictures would be taken for images of a class"
        elsewhere = photos.parent / (photos / out).name
        assert done.stderr.splitlines()[-1] == f"hwcls: {what} — name another, such as {elsewhere}"
        assert not (photos / "why").exists()
    for out in (photos.parent / "why", in_photos / "why", ".why"):
        assert run(out).exit_code == 0
    from hwcls.data.imageset import open_data
    from hwcls.inspection.load_trained import trial_config

    assert open_data(trial_config(in_photos).data).classes == ("a", "b")


def test_export(invoke, folder, tmp_path):
    done = invoke("export", folder, "--format", "torch", "--out", tmp_path / "m.pt2")
    assert done.exit_code == 0, done.output
    assert "largest difference" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.pt2", "m.pt2.json"]


def test_an_export_is_named_after_its_sweep(invoke, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep = folder.parents[1]
    monkeypatch.setattr("hwcls.inspection.export.export", lambda trained, path, kind: path.write_bytes(b"") or {})
    for named, written in ((sweep, f"{sweep.name}.onnx"), (folder, "model.onnx")):
        assert json.loads(invoke("export", named, "--json").stdout)["file"] == written
    monkeypatch.chdir(sweep)
    taken = invoke("export", ".", "--format", "torch", "--json")
    (sweep / f"{sweep.name}.pt2").unlink()
    assert json.loads(taken.stdout)["file"] == f"{sweep.name}.pt2"


def test_errors_are_one_line(invoke, tmp_path):
    for words in (["evaluate", tmp_path], ["export", tmp_path / "x"], ["check", tmp_path / "none.yaml"]):
        done = invoke(*words)
        assert done.exit_code == 2, done.output
        assert done.stderr.startswith("hwcls: ")
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("export TRIAL --format torch --out OUT/m.pt2", "m.pt2"),
        ("export TRIAL --format torch --out OUT/m.pt2", "m.pt2.json"),
        ("evaluate TRIAL --grid OUT/grid.png", "grid.png"),
        ("inspect TRIAL --out OUT", "activations.png"),
        ("profile TRIAL --steps 1 --out OUT", "0.trace.json"),
        ("data show digits --out OUT/digits.png", "digits.png"),
    ],
)
def test_a_file_of_the_user_is_replaced_only_where_it_is_asked_for(invoke, folder, tmp_path, monkeypatch, words, taken):
    path = tmp_path / taken
    path.write_text("mine")
    command = words.replace("TRIAL", str(folder)).replace("OUT", str(tmp_path)).split()
    refused = invoke(*command)
    assert refused.exit_code == 2, refused.output
    assert f"hwcls: {path}: exists already — pass --overwrite to replace it" in refused.stderr
    asked = []
    monkeypatch.setattr("hwcls.cli.options.can_ask", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda text, err: asked.append(text) or False)
    assert invoke(*command).exit_code == 2
    assert asked == [f"Replace what exists: {path}?"]
    assert path.read_text() == "mine"
    assert [found.name for found in tmp_path.iterdir()] == [taken]
    assert invoke(*command, "--overwrite").exit_code == 0
    assert path.read_bytes() != b"mine"


def test_where_nothing_can_be_written(invoke, folder, tmp_path):
    (tmp_path / "taken").write_text("a file")
    for words in (
        ["export", folder, "--format", "torch", "--out", tmp_path],
        ["evaluate", folder, "--grid", tmp_path],
        ["profile", folder, "--steps", 1, "--out", tmp_path / "taken"],
        ["evaluate", folder, "--grid", tmp_path / "taken" / "grid.png"],
    ):
        done = invoke(*words)
        assert done.exit_code == 2, (words, done.exception)
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stderr.startswith(f"hwcls: {tmp_path}")
    assert (tmp_path / "taken").read_text() == "a file"
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


@pytest.mark.parametrize(
    ("words", "work"),
    [
        (["profile", "--out"], "hwcls.data.imageset.open_data"),
        (["train", "--out"], "hwcls.training.local.open_data"),
        (["predict", ".", "--explain"], "hwcls.inspection.ensemble.model.load_classifier"),
    ],
)
def test_a_file_in_place_of_a_folder_to_write_to_is_an_error_before_the_work(
    invoke, folder, tmp_path, monkeypatch, words, work
):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setattr(work, lambda *arguments: pytest.fail("the work began"))
    done = invoke(words[0], folder, *words[1:], tmp_path / "taken")
    assert done.exit_code == 2, done.exception
    assert done.stderr.startswith(f"hwcls: {tmp_path / 'taken'}: not a directory")
    assert len(done.stderr.splitlines()) == 1


def test_a_picture_that_cannot_be_written_uses_up_no_read_of_test(invoke, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("hwcls.inspection.load_trained.count_test_read", lambda path: pytest.fail("test was read"))
    done = invoke("evaluate", folder, "--split", "test", "--grid", tmp_path)
    assert done.exit_code == 2
    assert done.stderr == f"hwcls: {tmp_path}: is a directory — choose another path, or move what exists there\n"


def test_inspect(invoke, folder, tmp_path):
    done = invoke("inspect", folder, "--out", tmp_path / "seen", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    arrays = np.load(folder / "inspection.npz")
    assert list(found["gradients"]) == arrays["layers"].tolist()
    for place, layer in enumerate(found["gradients"].values()):
        assert [layer[when]["epoch"] for when in ("first", "last")] == [1, 2]
        assert [layer[when]["mean"] for when in ("first", "last")] == arrays["gradient_mean"][:, place].tolist()
        assert [layer[when]["max"] for when in ("first", "last")] == arrays["gradient_max"][:, place].tolist()
    assert found["pictures"] == {"activations": str(tmp_path / "seen" / "activations.png")}
    table = invoke("inspect", folder / "config.yaml", "--out", tmp_path / "seen", "--overwrite")
    assert "mean, epoch 1" in table.output
    assert "activations: " in table.output


def test_inspect_where_nothing_was_recorded(invoke, tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(TrialConfig.from_dict(TRIAL).to_dict()))
    for content, message in ((None, "nothing was recorded"), (b"no archive", "damaged")):
        if content:
            (tmp_path / "inspection.npz").write_bytes(content)
        done = invoke("inspect", tmp_path)
        assert done.exit_code == 2
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
