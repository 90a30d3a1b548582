"""The head that a fine-tuning starts with: as good as a probe, trained once, the same for the same seed."""

from __future__ import annotations

import gc
import multiprocessing
import weakref
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from safetensors.torch import load_file

from hwcls import models
from hwcls.data.catalog import cache_folder
from hwcls.data.imageset import open_data
from hwcls.data.progress import StepReporter
from hwcls.errors import UserError
from hwcls.training import local, probe
from hwcls.training.build import build_trainer
from hwcls.training.distributed import World
from hwcls.training.effective import effective_settings
from hwcls.training.errors import NotFiniteError
from hwcls.training.features.probe_recipe import RECIPE, feature_trial, probe_trial
from hwcls.training.probe import probe_head

CPU = World(device=torch.device("cpu"))


@pytest.fixture
def probed(trial, weights, tmp_path, monkeypatch):
    """A trial that starts from a probe, with a cache of its own and a short recipe; `model` are further settings."""
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("hwcls.training.features.probe_recipe.EPOCHS", 3)

    def build(model=None, **changes):
        family = {
            "name": "timm",
            "backbone": "test_vit",
            "pretrained": str(weights("test_vit")),
            "start": "probe",
            **(model or {}),
        }
        given = {"model": family, "data__per_class": 12, "data__image_size": 32, "optimizer": {"name": "adamw"}}
        return trial(**given | changes)

    return build


@pytest.fixture
def trainings(monkeypatch):
    """The learning rates and weight decays of the probes that are trained."""
    found, build_head = [], probe.build_head

    def counted(config, *args):
        found.append((config.optimizer.lr, config.optimizer.weight_decay))
        return build_head(config, *args)

    monkeypatch.setattr(probe, "build_head", counted)
    return found


def trainer_of(config):
    return build_trainer(config, open_data(config.data), CPU)


def head_of(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items() if name.startswith("head.")}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_head_is_the_best_of_the_recipe(probed, trainings):
    config = probed({"head": {"depth": 2, "width": 8, "norm": "batch"}, "freeze_epochs": 1})
    trainer = trainer_of(config)
    assert tuple(trainings) == RECIPE
    found = probe_head(config, trainer.data, CPU.device, cache_folder())
    assert same(head_of(trainer), dict(found.weights)), "a head of the trial's own architecture"
    facts = effective_settings(trainer)["probe"]
    assert (facts["lr"], facts["weight_decay"]) in RECIPE
    values = trainer.evaluate("val")
    right = values.confusion.trace() / values.confusion.sum()
    assert right == pytest.approx(facts["val/accuracy"], abs=0.051), "of whole features; float16 turns one of 20"
    assert trainer.built.pretrain_seconds == facts["seconds"] > 0
    plain = trainer_of(config.model_copy(update={"model": config.model.model_copy(update={"start": "random"})}))
    assert not same(head_of(plain), head_of(trainer))
    assert all(
        torch.equal(value, plain.model.state_dict()[name])
        for name, value in trainer.model.state_dict().items()
        if name.startswith("backbone.")
    )


def test_it_is_trained_once_for_a_head_and_a_seed(probed, trainings):
    first = head_of(trainer_of(probed()))
    count = len(trainings)
    assert same(first, head_of(trainer_of(probed({"backbone_lr": 0.1, "layer_decay": 0.5, "drop_path": 0.1}))))
    assert same(first, head_of(trainer_of(probed(epochs=7, ema=0.9, clip=1.0, data__augment={"hflip": True}))))
    assert len(trainings) == count, "how the backbone is trained does not change the head"
    for changes in ({"seed": 1}, {"label_smoothing": 0.1}, {"data__per_class": 11}):
        assert not same(first, head_of(trainer_of(probed(**changes))))
    assert len(trainings) == 4 * count
    other = probed({"head": {"norm": "batch"}})
    assert head_of(trainer_of(other)).keys() != first.keys()


def test_the_same_seed_gives_the_same_head_anew(probed, trainings):
    config = probed()
    first = head_of(trainer_of(config))
    for path in (cache_folder() / "probes").glob("*.safetensors"):
        assert same(first, load_file(path))
        path.unlink()
    torch.rand(5)
    assert same(first, head_of(trainer_of(config)))
    assert len(trainings) == 2 * len(RECIPE)


def test_features_on_a_gpu_are_kept_for_the_probe_alone(probed, monkeypatch):
    """They are kept as long as their splits are, and those of the trial are as long as its worker."""
    splits, build_head = [], probe.build_head

    def noted(config, data, *args):
        splits.extend([weakref.ref(data.train), weakref.ref(data.val)])
        return build_head(config, data, *args)

    monkeypatch.setattr(probe, "build_head", noted)
    trainer = trainer_of(probed())
    gc.collect()
    assert len(splits) == 2 * len(RECIPE)
    assert {split() for split in splits} == {None}
    assert len(trainer.data.train)


def test_a_head_that_is_there_needs_no_cache_that_can_be_written(probed, monkeypatch):
    config = probed()
    first = head_of(trainer_of(config))
    monkeypatch.delattr(probe, "FileLock")
    assert same(first, head_of(trainer_of(config)))


def test_a_cache_that_cannot_hold_heads_is_said(probed):
    config = probed()
    cache_folder().mkdir()
    (cache_folder() / "probes").touch()
    with pytest.raises(UserError, match=r"probes: cannot be created .* — set HWCLS_CACHE to a folder"):
        trainer_of(config)


def test_a_training_of_its_own_shows_how_far_its_features_are(probed, tmp_path, monkeypatch):
    monkeypatch.setattr("hwcls.training.features.extract.UPDATE_EVERY", 0.0)
    reporter = Mock(spec=StepReporter)
    local.train(probed(epochs=1), tmp_path / "out", lambda record: None, progress=reporter)
    assert {task for task, _, _ in (call.args for call in reporter.step.call_args_list)} == {"digits: features"}


def test_generators_keep_their_state(probed):
    config = probed()
    data = open_data(config.data)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    probe_head(config, data, CPU.device, cache_folder())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_trial_with_it_repeats_itself(probed):
    config = probed({"backbone_lr": 0.1}, epochs=2, data__augment={"cutmix": 1.0, "crop": 1})
    first, again = ([record.metrics for record in trainer_of(config).epochs()] for _ in range(2))
    assert first == again


def test_a_rate_at_which_it_diverges_is_left_out(probed, monkeypatch):
    config, train = probed(), probe.Trainer.epochs

    def diverges(trainer):
        if trainer.config.optimizer.lr > 1e-3:
            raise NotFiniteError("the loss is not finite")
        yield from train(trainer)

    monkeypatch.setattr(probe.Trainer, "epochs", diverges)
    assert probe_head(config, open_data(config.data), CPU.device, cache_folder()).facts["lr"] == 1e-3
    monkeypatch.setattr(probe, "RECIPE", RECIPE[2:])
    with pytest.raises(UserError, match=r"model\.start: no loss of the probe is finite — set it to random"):
        probe_head(config, open_data(config.data), CPU.device, cache_folder())


def _probe(config, queue):
    torch.set_num_threads(1)
    found = probe_head(config, open_data(config.data), CPU.device, cache_folder())
    queue.put((found.facts["seconds"], float(sum(value.double().sum() for value in found.weights.values()))))


@pytest.mark.slow
def test_processes_that_need_the_same_head_train_it_once(probed):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_probe, args=(probed(), queue)) for _ in range(2)]
    for process in processes:
        process.start()
    found = {queue.get(timeout=120) for _ in processes}
    for process in processes:
        process.join()
    assert len(found) == 1, "the seconds are those of one training"


def test_what_is_probed_is_the_trial_on_plain_images(probed):
    config = probed({"drop_path": 0.1, "layer_decay": 0.5}, norm_batch=16, label_smoothing=0.1, ema=0.5)
    trial = probe_trial(config)
    assert trial.model.frozen
    assert trial.cached_views(replace(open_data(config.data), augment=trial.data.augment).augment) == 1
    assert (trial.label_smoothing, trial.seed, trial.norm_batch, trial.ema) == (0.1, config.seed, None, 0.0)
    assert type(trial).from_dict(trial.to_dict()) == trial, "a valid trial"
    assert feature_trial(config) == trial
    plain = config.model_copy(update={"model": config.model.without_pretrained()})
    assert probe_trial(plain) is None
    assert feature_trial(plain) == plain


def test_a_small_stem_has_no_features_yet(probed):
    config = probed({"backbone": "resnet18", "pretrained": True, "stem": "small"})
    with pytest.raises(UserError, match=r"small stem of resnet18.*no probe would train.*model\.start to random"):
        models.build_skeleton(config.model, classes=3, channels=3, image_size=32)
