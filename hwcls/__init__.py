"""hwcls: fair hyperparameter sweeps of image classifiers.

From Python: `sweep` runs a sweep, `load_results` reads one, `load_model` opens a trained model; `UserError` is what
they raise where a file, the data or the usage is wrong. docs/how-to/python.md has examples.
"""

from __future__ import annotations

import importlib

__version__ = "0.2.0"

_MODULES = {  # of the public names, each imported when it is first used; __init__.pyi has them for type checkers
    "Best": "hwcls.api.best",
    "Model": "hwcls.api.model",
    "Predictions": "hwcls.api.predictions",
    "Results": "hwcls.api.results",
    "UserError": "hwcls.errors",
    "load_model": "hwcls.api.model",
    "load_results": "hwcls.api.results",
}
__all__ = ["Best", "Model", "Predictions", "Results", "UserError", "load_model", "load_results", "sweep"]


def __getattr__(name: str) -> object:
    if name == "sweep":
        return importlib.import_module("hwcls.sweep")  # the package, which can be called
    if name not in _MODULES:
        raise AttributeError(f"module 'hwcls' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
