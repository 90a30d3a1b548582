"""The user's own model: `my_file.py:function`, from the file's path."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ConfigDict, field_validator

from hwcls.config.model import MODELS, ModelFamily
from hwcls.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("user")
class UserModelConfig(ModelFamily):
    """The user's own `file.py:function`, called with classes, channels, image_size and every other key given."""

    model_config = ConfigDict(extra="allow")
    slow_to_build: ClassVar[bool] = True

    name: str

    @field_validator("name")
    @classmethod
    def _names_a_function(cls, name: str) -> str:
        if not re.fullmatch(r"[^:]+:[A-Za-z_]\w*", name):
            raise ValueError(f"'{name}' does not name a function — write my_file.py:build")
        return name

    def build(self, *, classes: int, channels: int, image_size: int) -> nn.Module:
        """What the user's function returns for these numbers and every other key of the config.

        Raises UserError where it fails or returns anything but an nn.Module.
        """
        from torch import nn

        function = load_function(self.name)
        try:
            model = function(classes=classes, channels=channels, image_size=image_size, **(self.model_extra or {}))
        except Exception as error:
            remedy = "it is called with classes, channels, image_size and every other key of model"
            raise UserError(f"the model failed: {_error_line(error)}", where=self.name, remedy=remedy) from error
        if not isinstance(model, nn.Module):
            what = f"the function returned {type(model).__name__}, not a torch.nn.Module"
            raise UserError(what, where=self.name, remedy="return the model itself")
        return model

    @property
    def source_file(self) -> Path:
        """The file that holds the model, relative to the working directory unless the name is absolute."""
        return Path(self.name.rpartition(":")[0])

    def initialisation(self) -> dict[str, Any]:
        return self.model_dump(mode="json", include={"pretrained", "pretrain"})


def load_function(name: str) -> Callable[..., Any]:
    """The function that `file.py:function` names.

    The file's folder is on sys.path only while the file runs, so that it can import modules next to it.
    Raises UserError where the file or the function is missing or the file fails.
    """
    source, _, function = name.rpartition(":")
    path = Path(source).resolve()
    if not path.is_file():
        near = did_you_mean(path.name, (other.name for other in path.parent.glob("*.py")))
        raise UserError(f"no model file '{source}'", where="model.name", remedy=near)
    # one module name per path and content: an edited file is loaded again, and pickles of its classes resolve
    digest = hashlib.blake2b(str(path).encode() + path.read_bytes(), digest_size=8).hexdigest()
    module_name = f"hwcls_user_{path.stem}_{digest}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, path, loader=_UncachedLoader(module_name, str(path)))
        if spec is None or spec.loader is None:
            raise UserError(f"'{source}' is not a Python file", where="model.name", remedy="name a .py file")
        module = sys.modules[module_name] = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.parent))
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise UserError(f"the file failed: {_error_line(error)}", where=source) from error
        finally:
            if str(path.parent) in sys.path:
                sys.path.remove(str(path.parent))
    found = getattr(module, function, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UserError(f"no function '{function}'", where=source, remedy=did_you_mean(function, known))
    made: Callable[..., Any] = found
    return made


class _UncachedLoader(SourceFileLoader):
    """Compiles the file each time: Python's cache misses an edit within the same second that keeps the file's size."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _error_line(error: Exception) -> str:
    """The exception and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{at}"
