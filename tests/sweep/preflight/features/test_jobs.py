"""What a sweep computes once, how much of the cache it takes, and whether that fits."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import yaml

from hwcls.config.sweep import ConfirmConfig
from hwcls.config.sweep_file import load_sweep
from hwcls.data.imageset import open_data
from hwcls.errors import UserError
from hwcls.sweep.preflight.features import disk
from hwcls.sweep.preflight.features.disk import CacheUsage, check_cache, pixel_bytes
from hwcls.sweep.preflight.features.jobs import FeatureJob, list_jobs
from hwcls.sweep.preflight.prepare import list_features
from hwcls.sweep.run.extraction import FeatureWorker
from hwcls.training.features.rows import count_distinct, list_rows

IMAGES = 1797  # of digits


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def make(tmp_path):
    """A sweep over frozen backbones; keywords are keys of `data` and `model`."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.pth").write_bytes(name.encode())

    def write(data=None, **model):
        model = {"name": "timm", "pretrained": str(tmp_path / "a.pth"), "frozen": True, **model}
        expected = {"mean": [0.5] * 3, "std": [0.5] * 3}  # by the weights
        data = {"name": "digits", "image_size": 32, "channels": 3, **expected, **(data or {})}
        parameters = {"data": data, "model": model, "optimizer": {"name": "adam"}}
        values = {"name": "tiny", "run_cap": 4, "track": [], "parameters": parameters}
        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
        return load_sweep(tmp_path / "tiny.yaml")

    return write


def jobs_of(sweep):
    return list_jobs(sweep, open_data, lambda trial, images: 256)


def test_a_job_for_each_backbone_counts_each_image_once(make):
    first, second = jobs_of(make(backbone={"values": ["test_vit", "test_efficientnet"]}))
    assert (first.images, first.pending, first.views, first.width) == (IMAGES, IMAGES, 1, 256)
    assert str(first) == "features of 1,797 images by test_vit at 32 px"
    assert second.backbone == "test_efficientnet"
    assert first.folder != second.folder
    assert first.bytes == first.pending_bytes == IMAGES * (2 * 256 + 4)


def test_views_count_for_the_training_images(make):
    (job,) = jobs_of(make({"augment": {"crop": 2}}, backbone="test_vit", views=3))
    train = len(open_data(job.trials[0].data).train)
    assert job.images == IMAGES + 2 * train
    assert str(job) == f"features of {job.images:,} images (3 views of each training image) by test_vit at 32 px"


def test_what_looks_as_in_an_earlier_view_costs_no_time(make):
    """A mirrored view: half of the images are as the plain ones, and of a second one a quarter are new."""
    (job,) = jobs_of(make({"augment": {"hflip": True}}, backbone="test_vit", views=3))
    train = len(open_data(job.trials[0].data).train)
    assert job.images == IMAGES + 2 * train
    assert count_distinct(job.trials, open_data) == pytest.approx(IMAGES + 0.75 * train, rel=0.03)


def test_parts_of_a_data_set_share_a_job_that_needs_them_all(make):
    """A searched share of the images: at both ends, the smaller of which is part of the larger."""
    (job,) = jobs_of(make({"fraction": {"min": 0.1, "max": 1.0}}, backbone="test_vit"))
    assert [trial.data.fraction for trial in job.trials] == [0.1, 1.0]
    assert job.images == IMAGES
    assert job.images == sum(len(rows) for _, rows in list_rows(job.trials, open_data))


def test_confirm_runs_on_other_cuts_need_all_views_of_what_is_val_in_the_search(make):
    """Every image of train and val is trained on in some fold."""
    sweep = make({"augment": {"crop": 2}}, backbone="test_vit", views=3)
    opened = open_data(sweep.corners[0].data)
    plain = IMAGES + 2 * len(opened.train)
    for confirm, images in (
        ({"seeds": 3}, plain),
        ({"seeds": 3, "splits": "folds"}, IMAGES + 2 * (len(opened.train) + len(opened.val))),
    ):
        config = sweep.config.model_copy(update={"confirm": ConfirmConfig(**confirm)})
        (job,) = jobs_of(replace(sweep, config=config))
        assert job.images == images
    config = sweep.config.model_copy(update={"confirm": ConfirmConfig(seeds=3, splits=3)})
    (job,) = jobs_of(replace(sweep, config=config))
    assert plain < job.images <= images


def test_a_sweep_without_frozen_backbones_has_no_job(make):
    assert jobs_of(make(backbone="test_vit", frozen=False)) == ()
    assert jobs_of(make(backbone="test_vit", features="live")) == ()


def test_a_head_that_starts_as_a_probe_needs_the_plain_images(make):
    (job,) = jobs_of(make({"augment": {"crop": 2}}, backbone="test_vit", frozen=False, start="probe"))
    assert (job.images, job.views) == (IMAGES, 1)
    assert all(trial.model.frozen for trial in job.trials)
    (both,) = jobs_of(make(backbone="test_vit", frozen={"values": [False, True]}, start="random"))
    assert (both.folder, both.images) == (job.folder, IMAGES), "the same as a frozen backbone's"


def test_what_a_worker_has_computed_is_not_pending(make, tmp_path):
    import timm
    import torch

    with torch.random.fork_rng():
        torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "a.pth")
    sweep = make({"per_class": 20}, backbone="test_efficientnet")
    (job,) = list_features(sweep)
    assert (job.pending, job.width) == (job.images, 256)
    worker = FeatureWorker(1, False)
    assert worker.count_images(job.trials) == 0
    assert worker.compute(job.trials) is None
    assert worker.count_images(job.trials) == job.images
    assert [one.pending for one in list_features(sweep)] == [0]
    (tmp_path / "a.pth").write_bytes(b"no weights")
    assert "unreadable as weights" in str(worker.compute(list_features(sweep)[0].trials))


def test_pixels_of_one_store_count_once(make):
    sweep = make({"fraction": {"min": 0.1, "max": 1.0}}, backbone="test_vit")
    sets = [open_data(trial.data) for trial in sweep.corners]
    assert pixel_bytes(sets) == IMAGES * 8 * 8 * 3  # enlarged when they are read


def job(pending=10**6, width=1000):
    trial = SimpleNamespace(model=SimpleNamespace(name="timm", backbone="b"), data=SimpleNamespace(image_size=160))
    return FeatureJob(None, (trial,), 10**6, pending, 1, width)


def test_more_than_the_cache_may_take_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setenv("HWCLS_CACHE_LIMIT", "2GB")
    with pytest.raises(UserError) as found:
        check_cache([job()], 0)
    assert str(found.value) == (
        "HWCLS_CACHE_LIMIT: the features of 1,000,000 images by b at 160 px take 2.0 GB, more than the cache may take,"
        f" 2.0 GB — raise it, {disk.REMEDY}"
    )
    check_cache([job(width=990)], 0)
    with pytest.raises(UserError, match=r"beside 50 MB of decoded images, more than"):
        check_cache([job(width=990)], 5 * 10**7)
    check_cache([job(pending=0)], 10**12)  # nothing is computed


def test_more_than_the_disk_holds_is_one_line(monkeypatch):
    monkeypatch.setenv("HWCLS_CACHE_LIMIT", "1TB")
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 10**9)
    with pytest.raises(UserError, match=r"and the disk has only 1.0 GB free — free some space, set model.views lower"):
        check_cache([job()], 0)
    check_cache([job(pending=400_000)], 0)


def test_the_usage_of_the_cache_in_words():
    found = CacheUsage.of([job(), job(pending=0)], 10**7)
    assert (found.features, found.pending) == (2 * 2004 * 10**6, 2004 * 10**6)
    assert str(found).startswith("cache: features 4.0 GB, decoded images 10 MB in ")
    assert str(CacheUsage(0, 0, 5)).startswith("cache: decoded images 5 bytes in ")
