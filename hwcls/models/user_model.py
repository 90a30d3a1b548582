"""The user's own model: `my_file.py:function`, from the file's path."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import ConfigDict, Field, field_validator

from hwcls.config.model import MODELS, SOURCES, ModelFamily
from hwcls.errors import UserError
from hwcls.models.user.code import call_function, copy_name

if TYPE_CHECKING:
    from torch import nn


@MODELS.register("user")
class UserModelConfig(ModelFamily):
    """The user's own `file.py:function`, called with classes, channels, image_size and every other key given."""

    model_config = ConfigDict(extra="allow")
    slow_to_build: ClassVar[bool] = True

    name: str = Field(
        description="Your function, its file beside the sweep file; other keys are its arguments.",
        examples=["my_file.py:build"],
    )

    @field_validator("name")
    @classmethod
    def _names_a_function(cls, name: str) -> str:
        if not re.fullmatch(r".+:[A-Za-z_]\w*", name):
            raise ValueError(f"'{name}' does not name a function — write my_file.py:build")
        return name

    def build(self, *, classes: int, channels: int, image_size: int) -> nn.Module:
        """What the user's function returns for these numbers and every other key of the config, lazy layers included.

        Raises UserError where it fails or returns anything but an nn.Module, and where lazy layers get no shape.
        """
        from torch import nn

        from hwcls.models.forward_pass import initialise_lazy

        extra = copy.deepcopy(self.model_extra or {})  # the function may change its lists
        settings = {"classes": classes, "channels": channels, "image_size": image_size, **extra}
        model = call_function(self.name, settings)
        if not isinstance(model, nn.Module):
            what = f"the function returned {type(model).__name__}, not a torch.nn.Module"
            raise UserError(what, where=self.name, remedy="return the model itself")
        initialise_lazy(model, self.name, channels, image_size)
        return model

    @property
    def source_file(self) -> Path:
        """The file that holds the model, relative to the working directory unless the name is absolute."""
        return Path(self.name.rpartition(":")[0])

    def initialisation(self) -> dict[str, Any]:
        return self.model_dump(mode="json", include={"pretrained", "pretrain"})

    def beside(self, folder: Path) -> Self:
        file, _, function = self.name.rpartition(":")
        found = Path(os.path.abspath(folder / file))
        if not found.is_file() and not Path(file).is_file():  # moved or deleted since: the folder may be the results
            found = folder.absolute() / SOURCES / copy_name(Path(file)) / found.name
        return self.model_copy(update={"name": f"{found}:{function}"}) if found.is_file() else self
