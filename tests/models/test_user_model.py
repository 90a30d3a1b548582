"""The user's own model file."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import pytest
import torch

from hwcls import models
from hwcls.errors import UserError
from hwcls.models.user_model import UserModelConfig

GOOD = """
import torch
from torch import nn
from neighbour import SCALE

class Net(nn.Module):
    def __init__(self, classes, features, width):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(features, width), nn.ReLU(), nn.Linear(width, classes))
        self.scale = float(torch.tensor(SCALE))  # reads a value: impossible on the meta device

    def forward(self, x):
        return self.scale * self.net(x)

def build(classes, channels, image_size, width=8):
    return Net(classes, channels * image_size**2, width)

def number(**settings):
    return 5

def narrow(classes, channels, image_size):
    return Net(classes + 1, channels * image_size**2, 8)

def fixed(classes, channels, image_size):
    return Net(classes, channels * image_size**2, 8).requires_grad_(False)

def broken(**settings):
    raise ZeroDivisionError("oh no")
"""

LAZY = """
import torch
from torch import nn

class Spare(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.spare = nn.Linear(64, 5), nn.LazyLinear(3)

    def forward(self, x):
        return self.net(x.flatten(1))

def build(classes, channels, image_size):
    frozen = nn.BatchNorm2d(4).eval()
    return nn.Sequential(
        nn.LazyConv2d(4, 3), frozen, nn.LazyBatchNorm2d(), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(classes)
    )

def spare(classes, channels, image_size):
    return Spare()

def narrow(classes, channels, image_size):
    return nn.Sequential(nn.LazyConv2d(4, 9), nn.Flatten(), nn.LazyLinear(classes))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("SCALE = 2.0\n")
    (tmp_path / "my_net.py").write_text(GOOD)
    return tmp_path / "my_net.py"


def config(source: Path, function: str = "build", **settings: object) -> UserModelConfig:
    return UserModelConfig.model_validate({"name": f"{source}:{function}", **settings})


def check(given: UserModelConfig) -> int:
    return models.check(given, classes=5, channels=1, image_size=8)


def check_built(name: str) -> torch.nn.Module:
    return models.build(config(Path(name)), classes=5, channels=1, image_size=8)


def test_every_key_reaches_the_function(source: Path) -> None:
    before = list(sys.path)
    model = models.build(config(source, width=16), classes=5, channels=1, image_size=8)
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 5)
    assert check(config(source, width=16)) == 64 * 16 + 16 + 16 * 5 + 5
    assert sys.path == before
    assert type(pickle.loads(pickle.dumps(model))) is type(model)


def test_source_is_the_file(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert config(source).source_file == source
    monkeypatch.chdir(source.parent)
    assert config(Path("my_net.py")).source_file == Path("my_net.py")
    assert type(check_built("my_net.py")) is type(check_built(str(source)))


def test_an_edited_file_is_loaded_again(source: Path) -> None:
    """Also one of the same size, edited within the same second."""
    os.utime(source, (1e9, 1e9))
    assert check(config(source)) == 64 * 8 + 8 + 8 * 5 + 5
    source.write_text(GOOD.replace("width=8", "width=4"))
    os.utime(source, (1e9, 1e9))
    assert check(config(source)) == 64 * 4 + 4 + 4 * 5 + 5


@pytest.mark.parametrize(
    ("function", "settings", "said"),
    [
        ("biuld", {}, "did you mean 'build'"),
        ("number", {}, "returned int, not a torch.nn.Module"),
        ("narrow", {}, r"\(2, 6\)"),
        ("fixed", {}, "no trainable weight — leave requires_grad on"),
        ("broken", {}, r"ZeroDivisionError: oh no \(my_net.py, line \d+\)"),
        ("build", {"widht": 3}, "widht"),
    ],
)
def test_errors_of_a_user_model(source: Path, function: str, settings: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check(config(source, function, **settings))


def test_lazy_layers_have_shapes_that_the_seed_draws(source: Path) -> None:
    """As a model without any: in training mode where the function leaves it so, with statistics of no image."""
    source.write_text(LAZY)
    built = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        built.append(models.build(config(source), classes=5, channels=1, image_size=8))
    states = [model.state_dict() for model in built]
    assert [tuple(states[0][name].shape) for name in ("0.weight", "5.weight")] == [(4, 1, 3, 3), (5, 4 * 6 * 6)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["0.weight"], states[2]["0.weight"])
    assert states[0]["2.running_mean"].tolist() == [0.0] * 4
    assert [module.training for module in built[0]] == [True, False, True, True, True, True]
    assert check(config(source)) == sum(weight.numel() for weight in built[0].parameters())


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("spare", "no forward pass uses the lazy 'spare.weight' — remove that layer"),
        ("narrow", "the model cannot take 1x8x8 images"),
    ],
)
def test_lazy_layers_without_shapes(source: Path, function: str, said: str) -> None:
    source.write_text(LAZY)
    with pytest.raises(UserError, match=said):
        models.build(config(source, function), classes=5, channels=1, image_size=8)


def test_a_missing_or_failing_file(source: Path) -> None:
    with pytest.raises(UserError, match=r"my_nets\.py.*did you mean 'my_net\.py'"):
        check(config(source.with_name("my_nets.py")))
    source.write_text("import no_such_package_at_all\n")
    before = list(sys.path)
    with pytest.raises(UserError, match=r"ModuleNotFoundError.*my_net\.py, line 1"):
        check(config(source))
    assert sys.path == before


def test_a_file_that_runs_long_is_named(
    source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from hwcls.models.user import code as user_code

    monkeypatch.setattr(user_code, "PATIENCE", 0.1)
    source.write_text("import time\ntime.sleep(0.5)\n" + GOOD)
    assert check(config(source)) > 0
    assert caplog.messages == [f"waiting for {source}, which runs for 0.1 s now"]


def test_a_neighbour_is_imported_anew_and_also_while_the_model_is_built(source: Path, tmp_path: Path) -> None:
    source.write_text(
        GOOD.replace("from neighbour import SCALE\n", "SCALE = 1.0\n").replace(
            "    return Net(classes, channels * image_size**2, width)",
            "    from neighbour import WIDTH\n    return Net(classes, channels * image_size**2, WIDTH)",
            1,
        )
    )
    for width in (3, 5):
        source.with_name("neighbour.py").write_text(f"WIDTH = {width}\n")
        assert check(config(source)) == 64 * width + width + width * 5 + 5


def test_what_the_process_itself_exits_with_stays(source: Path) -> None:
    """os._exit is an error only where a user's file calls it."""
    import subprocess

    code = "import os; from hwcls import models; from hwcls.models.user_model import UserModelConfig as C;"
    code += f"models.build(C(name='{source}:build'), classes=2, channels=1, image_size=4); os._exit(7)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7


def test_a_function_that_changes_its_arguments_leaves_the_config_as_it_is(tmp_path: Path) -> None:
    source = tmp_path / "listed.py"
    source.write_text(
        "from torch import nn\n\n"
        "def build(classes, channels, image_size, widths, more):\n"
        "    widths.insert(0, channels * image_size**2)\n"
        "    more['widths'].append(classes)\n"
        "    layers = [nn.Linear(*pair) for pair in zip(widths, [*widths[1:], *more['widths']])]\n"
        "    return nn.Sequential(nn.Flatten(), *layers)\n"
    )
    given = config(source, widths=[8], more={"widths": []})
    before = given.model_dump()
    assert check(given) == check(given) == 64 * 8 + 8 + 8 * 5 + 5
    assert given.model_dump() == before
