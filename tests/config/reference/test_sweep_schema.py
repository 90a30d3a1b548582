"""The JSON schema of a sweep file accepts and refuses what hwcls does, and the shipped file is up to date."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from hwcls.config.reference.sweep_schema import build_sweep_schema, format_schema
from hwcls.config.sweep_file import load_sweep
from hwcls.config.yaml_source import YamlSource, parse_value, read_source
from hwcls.errors import UserError

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "hwcls" / "config" / "sweep.schema.json"
FILES = sorted([*(ROOT / "sweeps").glob("*.yaml"), *(ROOT / "benchmarks").glob("*.yaml")])
SMALL = "{run_cap: 8, parameters: {data: {name: digits}, model: {name: mlp}, optimizer: {name: adam}}}"
SCHEMA = jsonschema.Draft7Validator(json.loads(SHIPPED.read_text("utf-8")))

RIGHT = """
name=null
trackers={wandb: null, mlflow: null}
trackers={tensorboard: {}}
trackers={tensorboard: null}
notify={wandb: true}
notify={command: ./notify.sh, timeout: 0.5s}
metric=null
early_terminate=None
early_terminate={type: none}
parameters.data={path: photos/, mean: [0.5], std: images}
parameters.data={name: digits, mean: [0, 0, 0]}
parameters.data={name: digits, channels: {values: [1, 3]}}
parameters.clip=null
trackers={mlflow: {uri: "sqlite:////data/mlflow.db"}}
trackers={wandb: {tags: [baseline]}}
metric=val/loss
metric=[val/accuracy, cost/latency]
metric=[{name: val/accuracy}, {name: cost/receptive_field, goal: minimize}]
metric={name: val/loss, costs: [cost/flops, {name: cost/latency}]}
early_terminate=asha
early_terminate=none
early_terminate=null
early_terminate={eta: 4}
early_terminate={type: median, min_trials: 4}
budget=2h
budget=90
hang_after=1h30m
x-anchors={b: 1}
track=[]
confirm={splits: folds}
resources={gpus_per_worker: auto}
method=bayes
first=[{}]
presets={q: {run_cap: 4, confirm: null, parameters.epochs: 2, parameters.model.choice.*.width: 3}}
parameters.optimizer=adam
parameters.optimizer={name: {values: [adam, sgd]}, lr: {min: 1e-4, max: 1e-2, log: true}}
parameters.optimizer={choice: {adam: , sgd: {momentum: {values: [0.8, 0.9]}}}, lr: 0.1}
parameters.optimizer={choice: {a: {name: adam}, b: {name: sgd, lr: {distribution: uniform, min: 1e-4, max: 1}}}}
parameters.optimizer={name: sgd, lr: {value: 0.1}}
parameters.optimizer={name: sgd, lr: {min: 0.1, max: 0.2, distribution: null}}
parameters.model=simple_cnn
parameters.model=my.py:build
parameters.model={name: my.py:build, w: {min: 1, max: 3}, z: [1, 2]}
parameters.model={choice: {a: {name: my.py:build}, b: {name: other.py:build, k: 3}}, zz: 4}
parameters.model={choice: {mlp: {dropout: [0.1, 0.2, 0.3]}, simple_cnn: {head: {depth: 2}}}, head: {width: 64}}
parameters.model={choice: {a: {name: mlp}, b: {name: mlp, depth: 2}}, width: {min: 8, max: 16, step: 4}}
parameters.model={name: timm, choice: {a: {backbone: resnet18}, b: {backbone: {values: [resnet34, resnet50]}}}}
parameters.model={name: timm, backbone: resnet18, pretrained: {values: [true, false]}}
parameters.model={name: mlp, widths: {values: [[64, 32], [128]]}}
parameters.data=digits
parameters.data={path: photos/, layout: {table: labels.csv}}
parameters.data={choice: {digits: , mnist: {augment: {crop: 2}}}, batch_size: 64}
parameters.data={name: digits, augment: {choice: {none: {}, flip: {hflip: true}}}}
parameters.data={name: digits, augment: null, mean: [0.5, 0.5, 0.5], classes: {values: [[0, 1], [2, 3]]}}
parameters.scheduler=cosine
parameters.class_weights={values: [null, balanced]}
"""
WRONG = """
trackers={mlflow: {uri: foo}}
trackers={wandb: {tags: [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]}}
trackers={tensorboard: {folder: logs}}
trackers={wandb: {entity: ""}}
trackers={wandb: {group: ""}}
trackers={wandb: {registry: a/b/c/d}}
notify={}
notify={on: [end]}
notify={wandb: false, command: null}
notify={command: ""}
notify={wandb: true, timeout: 0s}
notify={wandb: true, timeout: 3601}
hang_after=0s
budget=0h0m
name=""
name=a/b
project=team/photos
runcap=3
run_cap=0
run_cap=many
early_terminate={type: asha, etta: 3}
early_terminate={type: median, eta: 3}
early_terminate=ashaa
early_terminate={etta: 3}
early_terminate={eta: 1}
early_terminate={type: null}
confirm={tops: 3}
confirm={splits: fold}
resources={worker: 2}
resources={gpus_per_worker: 2}
method=tpee
track=[wandbb]
metric=val/acc
metric=[cost/latency]
budget=2hours
share=time
keep=some
parameters.optimiser=adam
parameters.optimizer=adamm
parameters.optimizer={name: adam, lrr: 0.1}
parameters.optimizer={name: adam, momentum: 0.9}
parameters.optimizer={lr: 0.1}
parameters.optimizer={name: sgd, lr: {min: 0.1}}
parameters.optimizer={name: sgd, lr: {min: 0.1, max: 0.2, lug: true}}
parameters.optimizer={name: sgd, lr: {min: -0.1, max: 0.2}}
parameters.optimizer={name: sgd, lr: null}
parameters.optimizer={name: sgd, lr: {value: null}}
parameters.optimizer={name: sgd, lr: {values: []}}
parameters.optimizer={name: sgd, lr: {values: [0.1, 0.1]}}
parameters.optimizer={name: sgd, lr: {min: 0.1, max: 0.2, distribution: ""}}
parameters.optimizer={name: {values: []}}
parameters.optimizer={name: {values: adam}}
parameters.optimizer={name: sgd, lr: {values: [fast]}}
parameters.optimizer={name: sgd, lr: {values: [0.1], min: 0.1, max: 1.0}}
parameters.optimizer={choice: {adam: {lr: 0.1}, sdg: {lr: 0.1}}}
parameters.optimizer={choice: {adam: {momentum: 0.9}, sgd: {}}}
parameters.optimizer={choice: {}}
parameters.optimizer={choice: {a: {name: adam}}, lrr: 0.1}
parameters.model={choice: {mlp: {widht: 3}}}
parameters.model={choice: {a: {name: mlp, kernel: 3}}}
parameters.model={choice: {mlp: {}}, hed: {}}
parameters.model={name: timm}
parameters.model={name: mlp, head: {dept: 3}}
parameters.model={name: mlp, head: {depth: 9}}
parameters.model={name: mlp, depth: {min: 1, max: 99}}
parameters.model={name: mlp, depth: 1.5}
parameters.model={name: alexnet, pretrain: {shares: 1.0}}
parameters.data={name: digits, batchsize: 3}
parameters.data={name: digits, augment: {flip: true}}
parameters.data={name: digits, label: x}
parameters.data={}
parameters.data={name: null}
parameters.data={name: digits, mean: 0.5}
parameters.data={name: digits, mean: []}
parameters.data={name: digits, mean: [0.5, 0.5]}
parameters.data={name: digits, mean: [127]}
parameters.data={name: digits, std: [0]}
parameters.data={name: digits, mean: {min: 0, max: 1}}
parameters.data={name: digits, channels: {min: 1, max: 3}}
parameters.data={path: photos/, layout: {tabel: labels.csv}}
parameters.epochs=many
parameters.epochs={values: 3}
parameters.scheduler={name: cosine, factor: 0.1}
"""
# what a schema cannot tell: 12.0 is an integer to it, and of several keys it knows little
BEYOND = """
seed=12.0
run_cap=12.0
parameters.epochs=12.0
parameters.epochs={values: [1.0, 2]}
run_cap=null
notify={wandb: true, timeout: 2h}
compare=optimizer
metric={name: val/loss, goal: maximize}
confirm={seeds: 5, splits: 3}
parameters.epochs={min: 3, max: 2}
parameters.optimizer={name: sgd, momentum: 0.0, nesterov: true}
"""


def changed(line):
    """The values of a small sweep file with one entry set."""
    key, _, value = line.partition("=")
    source = YamlSource("s.yaml", parse_value(SMALL, "small"))
    source.set(key, parse_value(value, key), "test")
    return source.values


@pytest.fixture
def hwcls_accepts(tmp_path):
    """Whether hwcls reads a sweep file with some values, or has an error of one line."""

    def accepts(values):
        path = tmp_path / "s.yaml"
        path.write_text(json.dumps(values))
        try:
            return load_sweep(path) is not None
        except UserError as error:
            assert "\n" not in str(error)
            return False

    return accepts


def test_the_shipped_file_is_what_the_config_classes_give():
    assert SHIPPED.read_text("utf-8") == format_schema(build_sweep_schema()), (
        "run: hwcls schema > new.json && mv new.json hwcls/config/sweep.schema.json"
    )
    jsonschema.Draft7Validator.check_schema(SCHEMA.schema)
    for place in set(re.findall(r'"\$ref": "([^"]+)"', SHIPPED.read_text("utf-8"))):
        part = SCHEMA.schema
        for name in place.removeprefix("#/").split("/"):
            part = part[name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_shipped_file_is_valid_and_names_the_schema(path):
    assert not list(SCHEMA.iter_errors(read_source(path).values))
    first = path.read_text("utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == SHIPPED


@pytest.mark.parametrize("line", RIGHT.strip().splitlines())
def test_what_hwcls_accepts_is_valid(line, hwcls_accepts):
    values = changed(line)
    assert hwcls_accepts(values)
    assert not list(SCHEMA.iter_errors(values))


@pytest.mark.parametrize("line", WRONG.strip().splitlines())
def test_what_hwcls_refuses_is_invalid(line, hwcls_accepts):
    values = changed(line)
    assert not hwcls_accepts(values)
    assert list(SCHEMA.iter_errors(values))


@pytest.mark.parametrize("line", BEYOND.strip().splitlines())
def test_what_the_schema_cannot_tell_is_an_error_of_hwcls(line, hwcls_accepts):
    values = changed(line)
    assert not hwcls_accepts(values)
    assert not list(SCHEMA.iter_errors(values))


def test_a_preset_is_checked_before_it_is_used():
    assert list(SCHEMA.iter_errors(changed("presets={q: {runcap: 4}}")))
    assert list(SCHEMA.iter_errors(changed("presets={q: {run_cap: 0}}")))
