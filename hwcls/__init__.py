"""hwcls: fair hyperparameter sweeps of image classifiers.

From Python: `sweep` runs a sweep, `load_results` reads one, `load_model` opens a trained model; `UserError` is what
they raise where a file, the data or the usage is wrong. docs/python.md has examples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hwcls.api.best import Best
    from hwcls.api.model import Model, load_model
    from hwcls.api.predictions import Predictions
    from hwcls.api.results import Results, load_results
    from hwcls.errors import UserError
    from hwcls.sweep.from_python import sweep

__version__ = "0.1.0"

_MODULES = {  # of the public names, each imported when it is first used
    "Best": "hwcls.api.best",
    "Model": "hwcls.api.model",
    "Predictions": "hwcls.api.predictions",
    "Results": "hwcls.api.results",
    "UserError": "hwcls.errors",
    "load_model": "hwcls.api.model",
    "load_results": "hwcls.api.results",
}
__all__ = ["Best", "Model", "Predictions", "Results", "UserError", "load_model", "load_results", "sweep"]


if not TYPE_CHECKING:  # or type checkers would take any name for one of these

    def __getattr__(name: str) -> object:
        import importlib

        if name == "sweep":
            return importlib.import_module("hwcls.sweep")  # the package, which can be called
        if name not in _MODULES:
            raise AttributeError(f"module 'hwcls' has no attribute '{name}'")
        return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
