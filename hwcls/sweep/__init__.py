"""Sweeps: a search over trials, which train on reused groups of DDP ranks and survive crashes of every process.

`hwcls.sweep("file.yaml")` runs one: `from_python.sweep`.
Ray reads these variables when it is imported, so they are set before any module here can import it.
"""

import importlib
import os
import sys
import types
from typing import Any

RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # workers inherit the environment of the driver, also under `uv run`
    "RAY_DEDUP_LOGS_SKIP_REGEX": "(?s).",  # the output of its raylets, which log_to_driver does not silence
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_ONLY_STORE_CHECKPOINT_SCORE_ATTRIBUTE": "1",  # or each checkpoint keeps its metrics in memory
}
for _name, _value in RAY_SETTINGS.items():
    os.environ.setdefault(_name, _value)
if os.path.exists(os.path.expanduser("~/.ray/auth_token")):  # of a cluster: without this Ray does not send it
    os.environ.setdefault("RAY_AUTH_MODE", "token")


class _Package(types.ModuleType):
    """This package as a function: `hwcls.sweep` is the package once a module of it is imported."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return _function()(*arguments, **options)

    @property
    def __signature__(self) -> Any:
        import inspect

        return inspect.signature(_function())


def _function() -> Any:
    """`from_python.sweep`, imported when it is called: it needs the driver."""
    return importlib.import_module("hwcls.sweep.from_python").sweep


sys.modules[__name__].__class__ = _Package
