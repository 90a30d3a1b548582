"""Every error of a sweep file: one line, with the place and the remedy."""

from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwcls.config.space import Fixed
from hwcls.config.sweep_file import first_settings, load_sweep, load_trial
from hwcls.errors import UserError

SWEEPS = Path(__file__).parents[2] / "sweeps"
TINY = SWEEPS / "tinyimagenet.yaml"

ERRORS = {
    "parameters.epochs=0": "greater than or equal to 1",
    "parameters.model.head.depth={min: 0, max: 4}": "parameters.model.head.depth",
    "parameters.optimizer.choice.sgd.momentum={min: 1, max: 0.2}": "min 1 is above max 0.2",
    "parameters.optimizer.choice.sgdd={}": "did you mean 'sgd'",
    "parameters.data.bach_size=3": "did you mean 'batch_size'",
    "parameters.optimizer.choice.adam.momentum=0.9": "unknown key 'momentum'",
    "parameters.optimizer.lr=0.1": "every alternative sets 'lr' itself",
    "parameters.optimizer.beta=0.9": "unknown key 'beta' of adam",
    "parameters.optimizer.choice.adam.lr={distribution: log_uniform, min: -3, max: -1}": "ambiguous",
    "parameters.optimizer.choice.adam.lr={min: 0, max: 1, log: true}": "a log range cannot start at 0",
    "parameters.optimizer.choice.adam.lr={min: 0.1}": "'max' is missing",
    "parameters.optimizer.choice.adam.lr={min: a, max: 1}": "'min' is not a number",
    "parameters.optimizer.choice.adam.lr={values: [1], min: 1, max: 2}": "exclude each other",
    "parameters.optimizer.choice.adam.lr={values: []}": "'values' needs a list",
    "parameters.optimizer.choice.adam.lr={minimum: 1}": "unknown word 'minimum'",
    "parameters.epochs={min: 1.5, max: 3}": "whole numbers",
    "parameters.data.augment.choice.light.crop=abc": "'abc'",
    "parameters.optimizer.choice.sgd={nesterov: true, momentum: 0.0}": "nesterov needs momentum above 0",
    "parameters.model.choice.x/y={name: mlp}": "cannot be a label",
    "parameters.model.choice={}": "needs alternatives",
    "parameters.trainer=1": "unknown key 'trainer'",
    "parameters.model.freeze_epochs=100": "freeze_epochs 100 leaves none of 20 epochs",
    "epochs=2": "parameters.epochs",
    "metric.name=test/accuracy": "test is read once",
    "metric.name=val/acuracy": "did you mean 'val/accuracy'",
    "metric.goal=minimize": "better when maximized",
    "method=grid": r"tinyimagenet.yaml:6: run_cap: run_cap cannot be combined with method",
    "run_cap=2": "smaller than the 3 alternatives",
    "run_cap=null": "neither run_cap nor budget",
    "budget=2x": "not a duration",
    "compare=optimizer.adam.lr": "no choice and no values",
    "compare=model.head.dropout": "is a range",
    "compare=scheduler.name": "no choice and no values",
    "confirm.top=0": "confirm.top",
    "resources.workers=two": "resources.workers",
    "track=[wandb, aim]": "track.1: unknown tracker 'aim'",
    "track=[3]": "track.0: unknown tracker '3' — known: wandb, tensorboard, mlflow",
    "track=[wandb, tensorbord]": "track.1: unknown tracker 'tensorbord' — did you mean 'tensorboard'",
    "first=[{optimiser: sgd}]": "did you mean 'optimizer'",
    "first=[{optimizer: adagrad}]": "not in the space",
    "first=[{model.head.depth: 9}]": "not in the space",
    "first=[{model.head.depth: 1.5}]": "not in the space",
    "early_terminate.type=ahsa": "ahsa",
    "early_terminate.typ_of_rule=asha": "known: type, min_iter, eta, rule, min_trials",
    "keep=some": "keep",
    "share=hours": "share",
    "name=a/b": "name",
    "presests.quick=1": "did you mean 'presets'",
    "notify={}": "notify names nobody to notify — add wandb: true, or command: a program",
    "notify={wandb: true, timeout: 0s}": "notify.timeout: '0s': input should be greater than 0",
    "seed=12.0": "seed: 12.0 is not a whole number — write 12",
    "early_terminate={etta: 4}": "early_terminate.etta: unknown key 'etta' — did you mean 'eta'",
    "parameters.data.mean=0.5": "mean 0.5 is no list of numbers — write [0.5, 0.5, 0.5], or images",
    "parameters.optimizer.choice.adam.lr=null": "null is not a number — leave the key out for its default",
    "parameters.optimizer.choice.adam.lr={min: 0.1, max: 1, distribution: normal}": "unknown distribution 'normal'",
    "parameters.data.channels={min: 1, max: 3}": "channels: 'channels' takes no range — write values: [...]",
    "parameters.scheduler={name: {values: cosine}}": "scheduler.name.values: 'values' needs a list",
}


@pytest.mark.parametrize(("change", "message"), ERRORS.items(), ids=ERRORS)
def test_errors_have_a_place_and_a_remedy(change, message):
    with pytest.raises(UserError) as raised:
        load_sweep(TINY, sets=[change])
    text = str(raised.value)
    assert message in text
    assert text.startswith(str(TINY))
    assert "\n" not in text


def test_an_error_names_its_line(tmp_path):
    lines = TINY.read_text().splitlines()
    number = next(i for i, line in enumerate(lines) if "momentum" in line)
    lines[number] = lines[number].replace("momentum", "momentun")
    path = tmp_path / "s.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(
        UserError, match=rf"s\.yaml:{number + 1}: parameters\.optimizer\.choice\.sgd\.momentun"
    ) as raised:
        load_sweep(path)
    assert "did you mean 'momentum'" in str(raised.value)


SMALL = """name: small
run_cap: 2
parameters:
  data: {name: digits, batch_size: 64}
  model: {name: mlp, width: 16, depth: 1}
  optimizer: {name: adam, lr: 1e-3}
  epochs: 1
"""


def small(tmp_path, *changes):
    """The small sweep file with texts replaced: ("adam", "sgd")."""
    text = SMALL
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "s.yaml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (
            "{head: {depth: {min: 1, max: 3}}, choice: {head: {name: mlp, depth: {values: [2, 3]}}, mlp: {}}}",
            "model.choice.head.depth and parameters.model.head.depth would both be called 'model.head.depth' — "
            "give 'head' under choice another label",
        ),
        (
            "{name: mlp, choice: {a: {head: {depth: {min: 1, max: 3}}}, a.head: {depth: {min: 1, max: 2}}}}",
            "model.choice.a.head.depth and parameters.model.choice.a.head.depth would both be called "
            "'model.a.head.depth' — give 'a' under choice another label",
        ),
    ],
)
def test_two_parameters_with_one_name_are_an_error(tmp_path, model, names):
    with pytest.raises(UserError) as raised:
        load_sweep(small(tmp_path, ("{name: mlp, width: 16, depth: 1}", model)))
    assert str(raised.value).startswith(f"{tmp_path / 's.yaml'}:5: parameters.model.")
    assert names in str(raised.value)


def test_anchors_have_a_place_at_the_top(tmp_path):
    model = "model: {choice: {a: {<<: *net}, b: {<<: *net, width: 32}}}"
    anchors = "x-net: &net {name: mlp, width: 16, depth: 1}\nname: small"
    checked = load_sweep(
        small(tmp_path, ("name: small", anchors), ("model: {name: mlp, width: 16, depth: 1}", model)),
        sets=["parameters.model.choice.a.depth=2"],
    )
    models = [checked.trial(Fixed({"model": label})).model for label in "ab"]
    assert [(one.width, one.depth) for one in models] == [(16, 2), (32, 1)]
    assert "x-net" not in checked.resolved()


def test_changes_of_a_preset_and_options_are_recorded():
    quick = load_sweep(TINY, preset="quick", sets=["run_cap=9", "parameters.model.choice.resnet.backbone=resnet18"])
    changes = quick.source.changes()
    assert set(changes) == {"preset quick", "options"}
    assert changes["options"] == {"run_cap": 9, "parameters.model.choice.resnet.backbone": "resnet18"}
    assert changes["preset quick"]["parameters.epochs"] == 2
    assert changes["preset quick"]["parameters.model.choice.efficientnet.pretrained"] is False
    assert "run_cap" not in changes["preset quick"]  # the option came later
    assert load_sweep(TINY).source.changes() == {}
    assert load_sweep(TINY, budget="2h").source.changes() == {"options": {"budget": "2h"}}


def test_presets_reach_every_alternative():
    quick = load_sweep(TINY, preset="quick")
    assert quick.config.run_cap == 6
    assert (quick.config.confirm.top, quick.config.confirm.seeds) == (1, 2)
    for label in ("resnet", "wideresnet", "efficientnet"):
        trial = quick.trial(Fixed({"model": label}))
        assert (trial.model.pretrained, trial.epochs, trial.data.per_class) == (False, 2, 4)
    with pytest.raises(UserError, match="did you mean 'quick'"):
        load_sweep(TINY, preset="quik")


def test_for_replaces_the_cap():
    config = load_sweep(TINY, budget="1h30m").config
    assert (config.run_cap, config.budget) == (None, 5400)


def test_set_and_first():
    checked = load_sweep(TINY, sets=["first=[{optimizer: sgd, optimizer.sgd.lr: 0.1}]", "metric=val/loss"])
    assert first_settings(checked) == [{"optimizer": "sgd", "optimizer.sgd.lr": 0.1}]
    assert checked.config.metric.goal == "minimize"


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_files_load(path):
    for preset in (None, *load_sweep(path).config.presets):
        checked = load_sweep(path, preset=preset)
        assert checked.alternatives or checked.config.compare is None
    assert len(path.read_text().splitlines()) <= 60
    assert path.read_text().startswith("# ")  # what it answers


def test_a_trial_file_with_a_wrong_key(tmp_path):
    values = load_sweep(TINY).trial(Fixed({})).to_dict()
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(values))
    assert load_trial(path).to_dict() == values
    values["optimizer"]["lrr"] = 1
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match="unknown key 'lrr'"):
        load_trial(path)
    path.write_text(yaml.safe_dump({**values, "optimizer": {"name": "adam", "lr": 0.1}, "run_cap": 3}))
    with pytest.raises(UserError, match="unknown key 'run_cap' — known: data, model"):  # not a place in a sweep file
        load_trial(path)


def test_a_path_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = ["parameters.data={name: imagefolder, path: {values: [imgs, ~/imgs, /imgs]}}", "compare=data.path"]
    checked = load_sweep(TINY, sets=own)
    wanted = [str(tmp_path / "imgs"), str(Path.home() / "imgs"), "/imgs"]
    trials = [checked.trial(Fixed(alternative.settings)) for alternative in checked.alternatives]
    assert [trial.data.path for trial in trials] == wanted
    assert [checked.alternative_label(one.settings) for one in checked.alternatives] == ["imgs", "__imgs", "_imgs"]
    assert checked.resolved()["parameters"]["data"]["path"] == {"values": ["imgs", "~/imgs", "/imgs"]}  # as written
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(trials[0].to_dict()))
    monkeypatch.chdir("/")
    assert load_trial(tmp_path / "config.yaml").data.path == wanted[0]


FIRST = """name: first
run_cap: 4
first: [FIRST]
parameters:
  data: {name: digits, augment: {hflip: {values: [false, true]}}}
  model: {name: mlp, widths: {values: [[16, 8], [16], null]}, dropout: {values: [0, 0.5]}}
  optimizer:
    choice:
      adam: {lr: {min: 1e-4, max: 1e-2, log: true}}
      sgd: {lr: 0.1, momentum: {values: [0.9, 0.0]}, nesterov: {values: [false, true]}}
  epochs: {min: 2, max: 6, step: 2}
"""


@pytest.mark.parametrize(
    ("entry", "settings"),
    [
        ("model.widths: [16, 8]", {"model.widths": "[16, 8]"}),
        ("model.widths: '[16, 8]'", {"model.widths": "[16, 8]"}),
        ("model.widths: null", {"model.widths": None}),
        ("model.dropout: 0.0", {"model.dropout": 0}),
        ("data.augment.hflip: true", {"data.augment.hflip": True}),
        ("epochs: 4", {"epochs": 4}),
        ("optimizer: sgd", {"optimizer": "sgd"}),
        (
            "optimizer.adam.lr: 0.01",
            {"optimizer": "adam", "optimizer.adam.lr": 0.01},
        ),  # with the choice it exists under
    ],
)
def test_first_settings_are_as_optuna_stores_them(tmp_path, entry, settings):
    path = tmp_path / "s.yaml"
    path.write_text(FIRST.replace("[FIRST]", f"[{{{entry}}}]"))
    checked = load_sweep(path)
    assert first_settings(checked) == [settings]
    assert all(type(found) is type(settings[name]) for name, found in first_settings(checked)[0].items())
    checked.trial(Fixed(settings))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("model.widths: [8]", "[8] is not in the space of 'model.widths' — it is [16, 8], [16], null"),
        ("model.dropout: false", "false is not in the space"),
        ("data.augment.hflip: 1", "1 is not in the space"),
        ("epochs: 3", "3 is not in the space of 'epochs'"),
        ("epochs: 4.0", "4.0 is not in the space"),
        ("optimizer: Adam", "'Adam' is not in the space of 'optimizer'"),
        ("optimizer: sgd, optimizer.adam.lr: 0.01", "'optimizer.adam.lr' exists only under optimizer: adam"),
        (
            "optimizer.sgd.momentum: 0.9, optimizer.adam.lr: 0.01",
            "'optimizer.adam.lr' exists only under optimizer: adam",
        ),
        ("optimizer.sgd.nesterov: true, optimizer.sgd.momentum: 0.0", "first.0: nesterov needs momentum above 0"),
        ("lr: 0.1", "'lr' is not a searched parameter — known: "),
    ],
)
def test_first_settings_outside_the_space(tmp_path, entry, message):
    path = tmp_path / "s.yaml"
    path.write_text(FIRST.replace("[FIRST]", f"[{{{entry}}}]"))
    with pytest.raises(UserError) as raised:
        load_sweep(path)
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"{path}:3: first.0")


# what users of torch, timm and other tools would write, in the small sweep file
WORDS_OF_OTHERS = {
    # names in another spelling
    "parameters.optimizer=AdamW": "unknown optimizer 'AdamW' — did you mean 'adamw'?",
    "parameters.optimizer=torch.optim.SGD": "did you mean 'sgd'?",
    "parameters.optimizer={choice: {AdamW: {}, sgd: {}}}": "did you mean 'adamw'?; another label needs a name:",
    "parameters.scheduler=ReduceLROnPlateau": "did you mean 'plateau'?",
    "parameters.scheduler=CosineAnnealingLR": "did you mean 'cosine'?",
    "parameters.scheduler=OneCycleLR": "did you mean 'one_cycle'?",
    "parameters.scheduler=none": "did you mean 'constant'?",
    "parameters.model=MLP": "did you mean 'mlp'?",
    "parameters.model=SimpleCNN": "did you mean 'simple_cnn'?",
    "parameters.model.head={activation: nn.ReLU}": "did you mean 'relu'?",
    "metric=accuracy": "did you mean 'val/accuracy'?",
    "metric.name=Val/Loss": "did you mean 'val/loss'?",
    "metric={name: val/loss, goal: min}": "did you mean 'minimize'?",
    "method=TPE": "did you mean 'tpe'?",
    "early_terminate=Hyperband": "did you mean 'hyperband'?",
    "track=[W&B]": "did you mean 'wandb'?",
    "keep=Best": "did you mean 'best'?",
    # near to another name, but not the same
    "parameters.optimizer=NAdam": "known: adam, adamw, sgd",
    "parameters.scheduler=StepLR": "known: constant, plateau, cosine, one_cycle",
    "parameters.model=resnet18": "a backbone of timm is {name: timm, backbone: resnet18}; known: mlp",
    "parameters.model=my_file.py": "name its function: my_file.py:build",
    "parameters.model='my_file.py:'": "'my_file.py:' does not name a function — write my_file.py:build",
    "parameters.model.head={activation: LeakyReLU}": "known: relu, gelu, silu",
    # keys
    "parameters.optimizer.learning_rate=1e-3": "did you mean 'lr'?",
    "parameters.optimizer.momentum=0.9": "'momentum' is a key of sgd",
    "parameters.optimizer.betas=[0.9, 0.99]": "hwcls keeps torch's default: remove it",
    "parameters.scheduler={name: plateau, mode: max}": "the sweep's metric drives it: remove it",
    "parameters.scheduler={name: cosine, T_max: 10}": "it follows from epochs: remove it",
    "parameters.scheduler={name: cosine, eta_min: 0}": "did you mean 'min_lr'?",
    "parameters.scheduler={name: plateau, gamma: 0.1}": "did you mean 'factor'?",
    "parameters.scheduler={name: one_cycle, max_lr: 1}": "write it as parameters.optimizer.lr",
    "parameters.model.hidden_size=3": "did you mean 'width'?",
    "parameters.model.kernel_size=3": "'kernel' is a key of attention_cnn, kernel_cnn",
    "parameters.data.num_workers=4": "hwcls has no DataLoader: remove it",
    "parameters.data.augment={RandomHorizontalFlip: true}": "did you mean 'hflip'?",
    "parameters.data.augment=[crop, hflip]": "write augment: {crop: ..., hflip: ...}",
    "early_terminate={type: asha, eta: 3.5}": "3.5 is not a whole number",
    "parameters.data.augment=none": "write augment: {}",
    "parameters.learning_rate=1": "write it as parameters.optimizer.lr",
    "parameters.patience=3": "write it as parameters.scheduler.patience (a key of plateau)",
    "parameters.criterion=CrossEntropyLoss": "hwcls trains with cross-entropy",
    "lr=0.1": "unknown key 'lr' — write it as parameters.optimizer.lr",
    "optimizer.lr=0.1": "write parameters.optimizer.lr",
    "num_trials=3": "did you mean 'run_cap'?",
    "min_iter=3": "write it as early_terminate.min_iter",
    "confirm={seed: 3}": "unknown key 'seed' — did you mean 'seeds'?",
    "confirm={run_cap: 3}": "unknown key 'run_cap' — write it as run_cap at the top",
    "resources={epochs: 3}": "unknown key 'epochs' — write it as parameters.epochs",
    "compare=Optimizer": "no parameter of this file has several values",
    # values of another type
    "parameters.optimizer.lr='1e-3'": "'1e-3' is not a number — write 1e-3, without quotes",
    "parameters.optimizer.lr='0,001'": "'0,001' is not a number — write 0.001, without quotes",
    "parameters.optimizer.lr='1,5'": "'1,5' is not a number — write 1.5, without quotes",
    "parameters.optimizer.lr=10%": "'10%' is not a number — write 0.1, without quotes",
    "parameters.optimizer.lr=None": "'None' is not a number — leave the key out for its default",
    "parameters.optimizer.lr=inf": "'inf' is not a number — write a finite number",
    "parameters.optimizer.lr=.inf": ".inf is not a finite number",
    "parameters.optimizer.lr={min: 0.1, max: .nan}": ".nan is not a finite number",
    "parameters.optimizer.lr={min: '0.1', max: 1}": "'min' is not a number: '0.1' — write 0.1, without quotes",
    "name=[a]": "[a] is not text",
    "parameters.optimizer.lr=[a]": "[a] is not a number",
    "parameters.optimizer.lr=[0.1, 1]": "[0.1, 1] is not a number — write {values: [0.1, 1]} to search these",
    "parameters.optimizer.lr={choice: [0.1, 1]}": "unknown word 'choice' — did you mean 'values'?",
    "parameters.clip=None": "'None' is not a number — write null, without quotes",
    "parameters.clip={values: [None, 1.0]}": "'None' is not a number — write null, without quotes",
    "parameters.class_weights=none": "write null, without quotes",
    "parameters.epochs=3.0": "3.0 is not a whole number — write 3",
    "parameters.epochs={values: [1, 2.0]}": "2.0 is not a whole number — write 2",
    "parameters.epochs='3'": "'3' is not a whole number — write 3, without quotes",
    "parameters.data.batch_size='1,000'": "write 1000, without quotes",
    "parameters.data.channels='3'": "write 3, without quotes",
    "parameters.data.classes=cat": "'cat' is not a whole number or a list — write [cat]",
    "parameters.data.classes=[cat, 1.5]": "1.5 is not a whole number or text — put it into quotes: '1.5'",
    "parameters.data.augment={hflip: 1}": "1 is not true or false — write true",
    "parameters.data.augment={hflip: 'True'}": "write true, without quotes",
    "parameters.model={name: timm, backbone: resnet18, pretrained: 'true'}": "write true, without quotes",
    "parameters.model.widths=16": "16 is not a list — write [16]",
    "name=2024": "name: 2024 is not text — put it into quotes: '2024'",
    "name=my sweep": "cannot be the name of a sweep — use letters, digits and _ . + - (100 at most)",
    "project=team/proj": "a project's name takes none of / \\ # ? % :",
    "project=true": "true is not text — put it into quotes: 'true'",
    "track=wandb": "'wandb' is not a list — write [wandb]",
    "confirm=3": "3 is not a mapping — write {top: ..., seeds: ..., splits: ...}",
    # sections
    "parameters.optimizer={values: [adam, sgd]}": "write optimizer: {choice: {adam: {}, sgd: {}}}",
    "parameters.optimizer=[adam, sgd]": "write optimizer: {choice: {adam: {}, sgd: {}}}",
    "parameters.optimizer={choice: [adam, sgd]}": "write optimizer: {choice: {adam: {}, sgd: {}}}",
    "parameters.optimizer={choice: {my adam: {name: adam}}}": "use letters, digits and _ . + - (64 at most)",
    "parameters.model.head={values: [{depth: 1}, {depth: 2}]}": "write head: {choice: {a: {depth: 1}, b: {depth: 2}}}",
    "parameters.model.head={min: 1, max: 2}": "'min' is for single keys, and head has several",
    "parameters.scheduler=null": "write scheduler: {name: constant | plateau | cosine | one_cycle}",
}


@pytest.mark.parametrize(("change", "message"), WORDS_OF_OTHERS.items(), ids=WORDS_OF_OTHERS)
def test_words_of_other_tools_have_a_remedy(tmp_path, change, message):
    with pytest.raises(UserError) as raised:
        load_sweep(small(tmp_path), sets=[change])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "values" not in str(raised.value) or "values" in change + message


def test_no_early_stopping_and_no_name(tmp_path):
    assert load_sweep(small(tmp_path), sets=["early_terminate=None"]).config.early_terminate is None
    assert load_sweep(small(tmp_path), sets=["name=null"]).config.name == "s"


def test_early_stopping_without_a_type_is_asha(tmp_path):
    found = load_sweep(small(tmp_path), sets=["early_terminate={eta: 4}"]).config.early_terminate
    assert (found.type, found.eta) == ("asha", 4)


# malformed files: whatever stands in them, an error is a UserError

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["digits", "adam", "mlp", "1e-3"])
)
WORDS = st.sampled_from(
    [
        "name",
        "choice",
        "min",
        "max",
        "log",
        "values",
        "value",
        "step",
        "lr",
        "data",
        "model",
        "optimizer",
        "scheduler",
        "epochs",
        "head",
        "augment",
        "batch_size",
        "distribution",
        "label",
        "seed",
        "clip",
        "adam",
        "mlp",
        "timm",
        "*",
    ]
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=4)
)
KEYS = st.sampled_from(
    [
        "name",
        "metric",
        "method",
        "run_cap",
        "budget",
        "compare",
        "early_terminate",
        "confirm",
        "track",
        "parameters",
        "presets",
        "seed",
        "resources",
        "keep",
        "first",
        "max_restarts",
        "x",
    ]
)


def _try(path, text, **options):
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        load_sweep(path, **options)
    except UserError as error:
        assert "\n" not in str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(KEYS, TREES, min_size=1, max_size=3))
def test_malformed_sweeps_never_raise_anything_else(tmp_path, changes):
    values = yaml.safe_load(TINY.read_text()) | changes
    _try(tmp_path / "s.yaml", yaml.safe_dump(values, allow_unicode=True))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(section=st.sampled_from(["data", "model", "optimizer", "scheduler", "epochs"]), tree=TREES)
def test_malformed_parameters_never_raise_anything_else(tmp_path, section, tree):
    values = yaml.safe_load(TINY.read_text())
    values["parameters"][section] = tree
    _try(tmp_path / "s.yaml", yaml.safe_dump(values, allow_unicode=True))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=200))
def test_any_text_is_at_worst_an_error(tmp_path, text):
    text = text.encode("utf-8", "ignore").decode()
    _try(tmp_path / "s.yaml", text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 2500), insert=st.text(max_size=5))
def test_a_damaged_file_is_at_worst_an_error(tmp_path, cut, insert):
    text = TINY.read_text()
    _try(tmp_path / "s.yaml", text[:cut] + insert.encode("utf-8", "ignore").decode() + text[cut + 7 :])


@settings(max_examples=60, deadline=None)
@given(key=st.text(max_size=12), value=st.text(max_size=8))
def test_any_set_option_is_at_worst_an_error(key, value):
    try:
        load_sweep(TINY, sets=[f"{key}={value}"])
    except UserError as error:
        assert "\n" not in str(error)


def test_every_number_of_epochs_that_is_searched_trains_all_of_the_model():
    """Also where no end of one range alone shows it."""
    frozen = "parameters.model.choice.resnet.freeze_epochs={min: 0, max: 4}"
    with pytest.raises(UserError, match=r"freeze_epochs 4 leaves none of 4 epochs .* — set epochs to 5 or more"):
        load_sweep(TINY, sets=[frozen, "parameters.epochs={values: [20, 4]}"])
    assert load_sweep(TINY, sets=[frozen, "parameters.epochs={values: [20, 5]}"]).corners


@pytest.mark.parametrize("name", ["freeze_epochs=1", "backbone_lr=0.1", "layer_decay=0.75", "frozen_norm=true"])
def test_what_fine_tunes_needs_weights_to_tune(name):
    settings = ["freeze_epochs=0", "backbone_lr=1.0", "layer_decay=1.0", name]
    place = rf"tinyimagenet\.yaml .*parameters\.model\.{name.partition('=')[0]}: "
    for change, words in (
        ("choice.resnet.pretrained=false", "is for pretrained weights — add pretrained: true, or remove it"),
        ("choice.resnet.frozen=true", "this one is frozen — remove it or frozen"),
    ):
        with pytest.raises(UserError, match=f"{place}.*{words}"):
            load_sweep(TINY, sets=[f"parameters.model.{setting}" for setting in (*settings, change)])
