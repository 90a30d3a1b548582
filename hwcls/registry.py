"""Registries of the components that a sweep file can name: a new one is one module and one line in a table."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from hwcls.errors import UserError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Components of one kind by name; the module of a component is imported when its name is looked up.

    Args:
        kind: The kind of the components, for errors: "tracker".
        modules: The module that registers each name. Its imports at the top stay light (no torch, ray, optuna, wandb).
    """

    def __init__(self, kind: str, modules: Mapping[str, str]) -> None:
        self.kind, self.modules = kind, dict(modules)
        self._components: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers a component as `name`."""

        def add(component: T) -> T:
            self._components[name] = component
            return component

        return add

    def __getitem__(self, name: str) -> T:
        """The component called `name`; raises UserError with the nearest name where there is none."""
        if name not in self.modules and name not in self._components:
            raise UserError(f"unknown {self.kind} '{name}'", remedy=did_you_mean(name, self.names()))
        if name not in self._components:
            importlib.import_module(self.modules[name])
        return self._components[name]

    def names(self) -> list[str]:
        """Every name, in the order of the table."""
        return list(dict.fromkeys([*self.modules, *self._components]))

    def all(self) -> dict[str, T]:
        """Every component by name, which imports all of their modules."""
        return {name: self[name] for name in self.names()}
