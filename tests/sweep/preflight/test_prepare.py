"""What is made sure before the first trial."""

import itertools
import json
import unicodedata

import pytest
import torch

from hwcls.errors import UserError
from hwcls.models.timm import TimmConfig
from hwcls.sweep.preflight.dry_run import plan_sweep, print_plan
from hwcls.sweep.preflight.prepare import check_content, prepare
from hwcls.sweep.storage.changes.outside import find_settings
from hwcls.tracking.folders import SweepFolder

K3 = {"name": "kernel_cnn", "kernel": 3, "width": 4}


def prepared(sweep, path):
    prepare(sweep, path)
    return json.loads((path / "models.json").read_text())["same"]


def test_variants_that_are_one_model_are_logged_and_kept(tiny, tmp_path, caplog):
    model = {"head": {"depth": {"min": 1, "max": 2}}, "choice": {"k3": K3, "k5": dict(K3), "k7": {**K3, "kernel": 7}}}
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        assert prepared(tiny(parameters={"model": model}), tmp_path) == [["k3", "k5"]]
        assert "k3 and k5 are the same model" in caplog.messages


def test_a_backbone_is_run_once_for_its_notes(tiny, tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(TimmConfig, "notes", lambda self, **shape: runs.append(shape) or ("it is small",))
    model = {"choice": {"plain": {"name": "mlp"}, "probe": {"name": "timm", "backbone": "test_resnet"}}}
    sweep = tiny(parameters={"model": model})
    for folder in ("one", "two"):
        assert check_content(sweep, tmp_path, tmp_path / folder, str).notes == ["it is small"]
    assert runs == [{"channels": 1, "image_size": 8}]


def test_the_data_is_described_from_files_to_splits(tiny, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "hwcls")
    lines = prepare(tiny(), tmp_path).described
    assert [line for line in lines if line in caplog.messages] == lines
    assert lines[0] == "digits: 10 classes; 180 train, 20 val, 359 test"
    assert lines[1].startswith("  test: as the data has it; val: 10 % of the training images, cut by hwcls (seed 0)")
    assert len(lines) == 2
    shown = []
    print_plan(plan_sweep(tiny(), (), lines), shown.append)
    assert f"\n\ndata\n  {lines[0]}\n  {lines[1]}\n\n" in "\n".join(shown)


def test_where_weights_come_from_counts(tiny, tmp_path):
    """The same structure, but encoders that were pretrained on more or on less."""
    body = {"name": "alexnet", "width": 4}
    choice = {f"share{share}": {**body, "pretrain": {"share": share / 100}} for share in (25, 100)}
    model = {"choice": {**choice, "full": {**body, "pretrain": {"share": 1.0}}, "alone": body}}
    assert prepared(tiny(parameters={"model": model}), tmp_path) == [["share100", "full"]]


def test_a_model_that_cannot_be_built_is_placed(tiny, tmp_path):
    model = {"choice": {"fine": {"name": "mlp", "width": 8}, "deep": {"name": "gated_cnn", "depth": 4}}}
    with pytest.raises(UserError, match=r"tiny\.yaml:\d+: parameters\.model\.choice\.deep: .*8x8 are too small"):
        prepare(tiny(parameters={"model": model}), tmp_path)


def test_pretrained_weights_are_tried_before_the_first_trial(tiny, tmp_path):
    torch.save({"some": torch.zeros(3)}, tmp_path / "wrong.pth")
    body = {"name": "timm", "backbone": "resnet10t", "pretrained": str(tmp_path / "wrong.pth")}
    sweep = tiny(parameters={"model": {"choice": {"plain": {"name": "mlp"}, "probe": body}}})
    with pytest.raises(UserError, match=r"parameters\.model\.choice\.probe: '.*wrong\.pth' holds another architecture"):
        prepare(sweep, tmp_path / "out")


def test_images_that_have_changed_since_the_first_trial(tmp_path, tiny, monkeypatch):
    import numpy as np
    from PIL import Image

    def write(count):
        for split in ("train", "val"):
            for name in ("a", "\u00e9"):
                folder = tmp_path / "mine" / split / name
                folder.mkdir(parents=True, exist_ok=True)
                for i in range(count):
                    pixels = np.full((8, 8, 3), 20 * i + ord(name) % 7, np.uint8)
                    Image.fromarray(pixels).save(folder / f"{i}.png")

    write(6)
    sweep = tiny(parameters={"data": {"name": "imagefolder", "path": str(tmp_path / "mine")}})
    prepare(sweep, tmp_path / "out")
    prepare(sweep, tmp_path / "out")
    write(7)
    prepare(sweep, tmp_path / "out")  # no trial has begun
    (tmp_path / "out" / "trials" / "0").mkdir(parents=True)
    (tmp_path / "out" / "trials" / "0" / "config.yaml").write_text("{}")
    prepare(sweep, tmp_path / "out")
    with monkeypatch.context() as earlier:  # versions that kept the spelling of macOS
        earlier.setattr("hwcls.data.own.folders.nfc", lambda name: unicodedata.normalize("NFD", name))
        earlier.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
        (tmp_path / "out" / "data.json").unlink()
        prepare(sweep, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "data.json").read_text())["classes"] == ["a", "e\u0301"]
    prepare(sweep, tmp_path / "out")
    write(8)
    with pytest.raises(UserError, match="images of mine have changed since this sweep started"):
        prepare(sweep, tmp_path / "out")


def write_photos(root, count):
    """Grey class folders with their splits."""
    import numpy as np
    from PIL import Image

    for split, name in itertools.product(("train", "val"), "ab"):
        folder = root / split / name
        folder.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(np.full((8, 8), 20 * i + (name == "a"), np.uint8)).save(folder / f"{i}.png")


@pytest.mark.parametrize("count", [6, 7])
def test_photos_that_were_moved_must_be_the_same(tiny, tmp_path, count):
    """Also where the folder above, by which they are called, has another name: the trials would still be drawn."""

    def of(name, **settings):
        return tiny(parameters={"data": {"path": str(tmp_path / name / "images"), **settings}})

    out = tmp_path / "out"
    write_photos(tmp_path / "pets" / "images", 6)
    write_photos(tmp_path / "animals" / "images", count)
    (out / "trials" / "0").mkdir(parents=True)
    (out / "trials" / "0" / "config.yaml").write_text(json.dumps(of("pets").corners[0].to_dict()))
    for settings in ({"per_class": 3}, {}):  # what the file had once does not matter
        check_content(of("pets", **settings), out, out, str)
    assert find_settings(of("animals"), SweepFolder(out).trials()[0])
    if count == 6:
        check_content(of("animals"), out, tmp_path, str)
        return
    with pytest.raises(UserError, match="images of animals have changed since this sweep started"):
        check_content(of("animals"), out, tmp_path, str)


def begin_with(tiny, out):
    """Prepares a sweep over two sizes of the data as if a trial had begun; returns the same with other sizes."""

    def of(sizes):
        return tiny(compare=None, parameters={"data": {"name": "digits", "per_class": {"values": sizes}}})

    check_content(of([20, 40]), out, out, str)
    (out / "trials" / "0").mkdir(parents=True)
    (out / "trials" / "0" / "config.yaml").write_text("{}")
    return of


@pytest.mark.parametrize("sizes", [[40, 20], [40], [10, 20, 40], [40, 80]])
def test_data_sets_of_a_sweep_may_change_places_come_and_go(tiny, tmp_path, sizes):
    out = tmp_path / "out"
    check_content(begin_with(tiny, out)(sizes), out, tmp_path, str)


@pytest.mark.parametrize("earlier", [False, True])  # earlier versions recorded no settings
def test_one_of_several_data_sets_has_changed(tiny, tmp_path, earlier):
    out = tmp_path / "out"
    of = begin_with(tiny, out)
    data = json.loads((out / "data.json").read_text())
    data["others"][0]["fingerprint"] = "of other images"  # of 40
    for entry in (data, *data["others"]) if earlier else ():
        del entry["settings"]
    (out / "data.json").write_text(json.dumps(data))
    check_content(of([20]), out, tmp_path, str)
    with pytest.raises(UserError, match="images of digits have changed since this sweep started"):
        check_content(of([40, 20]), out, tmp_path, str)


def test_a_data_set_that_comes_back_must_have_its_images(tiny, tmp_path):
    """It may have been away for several starts."""
    out = tmp_path / "out"
    of = begin_with(tiny, out)
    for sizes in ([20], [20, 80], [20]):
        check_content(of(sizes), out, out, str)
    data = json.loads((out / "data.json").read_text())
    assert [entry["settings"]["per_class"] for entry in data["former"]] == [80, 40]
    check_content(of([20, 40]), out, tmp_path, str)
    back = json.loads((tmp_path / "data.json").read_text())
    assert [entry["settings"]["per_class"] for entry in back["former"]] == [80]
    data["former"][1]["fingerprint"] = "of other images"
    (out / "data.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="images of digits have changed since this sweep started"):
        check_content(of([20, 40]), out, tmp_path, str)
