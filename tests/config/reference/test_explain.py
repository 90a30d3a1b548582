"""What `hwcls explain-key` says of each key."""

import json
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.config.reference.explain import example_of, explain_key
from hwcls.config.reference.keys import DRAWN, Key, sweep_keys
from hwcls.config.sweep_file import parse_sweep
from hwcls.config.yaml_source import YamlSource
from hwcls.errors import UserError
from tests.config.reference.test_sweep_schema import SCHEMA

KEYS = {f"{'.'.join(key.path)} {key.owner}".strip(): key for key in sweep_keys()}
SELECTED = [key for key in KEYS.values() if key.owner and key.name in ("name", "type")]
NEEDS = {  # what else has to be there for an example to be valid
    "data.fold": {"folds": 5},
    "data.folds": {"fold": 1},
    "model.views": {"frozen": True, "pretrained": True},
    "model.freeze_epochs": {"pretrained": True},
    "model.backbone_lr": {"pretrained": True},
    "model.layer_decay": {"pretrained": True},
    "model.frozen_norm": {"pretrained": True},
    "model.start": {"pretrained": True},
    "confirm.folds": {"splits": "folds"},
    "notify.on": {"wandb": True},
    "notify.timeout": {"wandb": True},
}


def test_all_keys_are_there():
    assert {"run_cap", "resources.workers", "early_terminate.eta asha", "parameters.optimizer.momentum sgd"} <= set(
        KEYS
    )
    assert "parameters.metric" not in KEYS
    assert not [name for name in KEYS if "label" in name.split()[0].split(".")]


@pytest.mark.parametrize("name", KEYS)
def test_every_key_has_a_description(name):
    key = KEYS[name]
    text = key.field.description
    if key in SELECTED and not text:
        return
    assert text
    assert text.endswith(".")
    assert len(text) < 160


def example_file(key: Key):
    """A small sweep file with the example of a key."""
    parameters = {"data": {"name": "digits"}, "model": {"name": "mlp"}, "optimizer": {"name": "adam"}, "epochs": 9}
    values = {"name": "s", "run_cap": 8, DRAWN: parameters}
    if key.section == "early_terminate":
        values["early_terminate"] = {"type": key.owner}
    elif key.path[1:2] in (("model",), ("optimizer",), ("scheduler",)) and key.owner:
        own = {"name": "my.py:build" if key.owner == "user" else key.owner}
        parameters[key.path[1]] = own | ({"backbone": "resnet18"} if key.owner == "timm" else {})
    inner = values
    for part in key.path[:-1]:
        inner = inner.setdefault(part, {})
    return inner | NEEDS.get(".".join(key.path).removeprefix("parameters."), {}), inner, values


@pytest.mark.parametrize("name", [name for name in KEYS if KEYS[name] not in SELECTED])
def test_every_example_is_valid(name):
    key = KEYS[name]
    filled, inner, values = example_file(key)
    inner.update(filled, **{key.name: example_of(key)})
    if name == "share":
        values |= {"compare": "model", DRAWN: values[DRAWN] | {"model": {"choice": {"mlp": {}, "simple_cnn": {}}}}}
    if key.path[0] == "metric" and len(key.path) > 1:
        values["metric"].setdefault("name", "val/accuracy")
    if name == "parameters.scheduler.warmup one_cycle":
        return  # it has its own, and says so
    assert not list(SCHEMA.iter_errors(values)), values
    if key.section != "metric.costs":  # of an entry of a list
        assert parse_sweep(YamlSource("s.yaml", values)).corners


def test_a_number():
    (found,) = explain_key("optimizer.lr")
    assert (found.key, found.owners, found.type) == ("parameters.optimizer.lr", (), "number")
    assert (found.range, found.default, found.unit) == ("more than 0", "0.001", None)
    assert found.search.startswith("{min: ..., max: ...}")
    assert found.example == "lr: {min: 0.0001, max: 0.01, log: true}"
    assert explain_key("parameters.optimizer.lr") == explain_key("lr") == [found]


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("run_cap", {"type": "whole number", "range": "1 or more", "default": "null", "search": None}),
        ("hang_after", {"unit": "seconds", "default": "600.0", "example": "hang_after: 10m"}),
        ("data.image_size", {"unit": "pixels", "range": "4 to 1,024"}),
        ("optimizer.sgd.momentum", {"owners": ("sgd",), "range": "0 or more and less than 1"}),
        ("model.choice.timm.backbone", {"owners": ("timm",), "default": None, "type": "text"}),
        ("name", {"default": ""}),  # of the file
        ("keep", {"type": "best, all, none"}),
        ("track", {"type": "list of wandb, tensorboard, mlflow", "default": "[wandb]"}),
        ("optimizer.name", {"type": "adam, adamw, sgd", "owners": ()}),
        ("early_terminate.eta", {"owners": ("asha", "hyperband")}),
        ("early_terminate", {"type": "asha, hyperband, median, or mapping"}),
    ],
)
def test_facts(name, facts):
    (found,) = explain_key(name)
    assert {word: getattr(found, word) for word in facts} == facts


def test_a_key_that_types_have_differently():
    few, many = explain_key("model.kernel")
    assert (few.owners, many.owners) == (("attention_cnn",), ("kernel_cnn",))
    heads = explain_key("model.head.depth")  # AlexNet's head has other defaults
    assert [(one.default, one.owners == ("alexnet",)) for one in heads] == [("1", False), ("3", True)]
    assert [one.key for one in explain_key("seed")] == ["seed", "parameters.seed"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("optimizer.lrr", "did you mean 'optimizer.lr'?"),
        ("learning_rate", "did you mean 'optimizer.lr'?"),
        ("runcap", "did you mean 'run_cap'?"),
        ("width", "did you mean 'model.width' or 'model.head.width'?"),
        ("zzz", "known at the top: name, "),
        ("", "known at the top: name, "),
        ("optimizer.lr.x", "known at the top: name, "),
    ],
)
def test_an_unknown_key(name, remedy):
    with pytest.raises(UserError) as raised:
        explain_key(name)
    assert str(raised.value.remedy).startswith(remedy)


def test_the_page_for_editors_shows_what_is_printed():
    page = (Path(__file__).parents[3] / "docs/how-to/editors.md").read_text("utf-8")
    assert f"```text\n{CliRunner().invoke(app, ['explain-key', 'optimizer.lr']).stdout}```" in page


def test_the_commands():
    run = CliRunner().invoke
    text = run(app, ["explain-key", "model.kernel"])
    assert text.exit_code == 0
    assert text.stdout.splitlines()[:3] == [
        "parameters.model.kernel",
        "of attention_cnn:",
        "Kernel of the spatial attention.",
    ]
    as_json = run(app, ["explain-key", "optimizer.lr", "--json"])
    assert json.loads(as_json.stdout)[0]["key"] == "parameters.optimizer.lr"
    wrong = run(app, ["explain-key", "optimizer.lrr"])
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr == "hwcls: no key 'optimizer.lrr' — did you mean 'optimizer.lr'?\n"
    schema = run(app, ["schema"])
    assert json.loads(schema.stdout) == SCHEMA.schema
    jsonschema.Draft7Validator.check_schema(json.loads(schema.stdout))
