"""Registries: lookup by name, lazy import, registration of new names."""

import sys

import pytest

from hwcls.errors import UserError
from hwcls.registry import Registry


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """A registry whose module registers `circle`."""
    (tmp_path / "circle_module.py").write_text("import sys\nsys.shapes.register('circle')('round')\n")
    registry = Registry("shape", {"circle": "circle_module"})
    monkeypatch.setattr(sys, "shapes", registry, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield registry
    sys.modules.pop("circle_module", None)


def test_a_module_is_imported_when_its_name_is_looked_up(shapes):
    assert shapes.names() == ["circle"]
    assert "circle_module" not in sys.modules
    assert shapes["circle"] == "round"
    assert "circle_module" in sys.modules


def test_a_component_can_be_registered_without_a_table(shapes):
    shapes.register("square")("angular")
    assert shapes["square"] == "angular"
    assert shapes.all() == {"circle": "round", "square": "angular"}


def test_an_unknown_name_gets_the_nearest_one(shapes):
    with pytest.raises(UserError, match="unknown shape 'cirle' — did you mean 'circle'"):
        shapes["cirle"]
