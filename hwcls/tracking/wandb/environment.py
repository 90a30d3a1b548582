"""What W&B may take from environment variables and its settings files: the account, the place and the way to it.

Everything else there (ids of a sweep, launch or run, names, groups, tags, notes, resuming) would put every trial into
one run or another project. hwcls sets it itself, so that it is removed before W&B reads it.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from hwcls.config.sweep import check_project
from hwcls.errors import UserError
from hwcls.escape import hide_credentials
from hwcls.tracking.wandb.settings import check_entity

PREFIX = "WANDB_"
MODE = "WANDB_MODE"  # hwcls reads it itself
SHOWN = {"WANDB_PROJECT": "project", "WANDB_ENTITY": "entity", "WANDB_BASE_URL": "server", "WANDB_DIR": "files in"}
# names of wandb.Settings, and of variables that are no setting
KEPT = {"api_key", "identity_token_file", "credentials_file"}
KEPT |= {"project", "entity", "base_url", "root_dir", "dir"}
KEPT |= {"app_url", "app_url_override", "http_timeout", "file_pusher_timeout", "insecure_disable_ssl"}
KEPT |= {"http_proxy", "https_proxy", "config_dir", "cache_dir", "data_dir", "artifact_dir", "init_timeout"}
KEPT |= {"silent", "debug", "core_debug", "error_reporting", "sagemaker_disable"}
KEPT_PRIVATE = ("x_graphql_", "x_file_stream_", "x_file_transfer_", "x_service_wait", "x_proxies", "x_extra_http_")


def is_kept(setting: str) -> bool:
    """Whether W&B may take a setting (a name of wandb.Settings) from outside."""
    return setting in KEPT or setting.startswith(KEPT_PRIVATE)


def ignored_variables(environment: Mapping[str, str]) -> list[str]:
    """The variables of W&B that hwcls ignores."""
    names = (name for name in environment if name.startswith(PREFIX) and name != MODE)
    return sorted(name for name in names if not is_kept(_setting(name)))


def ignored_settings(names: Iterable[str]) -> list[str]:
    """The entries of W&B's settings files that hwcls ignores."""
    return sorted(name for name in names if not is_kept(name))


def project_name(project: str) -> str:
    """The project of the runs: WANDB_PROJECT, or else the sweep file's; raises UserError where W&B refuses it."""
    try:
        return check_project(os.environ.get("WANDB_PROJECT") or project)
    except ValueError as error:
        raise UserError(str(error), where="WANDB_PROJECT") from None


def entity_name(entity: str | None) -> str | None:
    """The user or team of the runs: WANDB_ENTITY, or else the sweep file's; None: the user's default.

    Raises:
        UserError: The variable has more than a name.
    """
    try:
        return check_entity(name) if (name := os.environ.get("WANDB_ENTITY")) else entity
    except ValueError as error:
        raise UserError(str(error), where="WANDB_ENTITY") from None


def chosen_mode() -> tuple[str, Path | None]:
    """The mode that is chosen outside of hwcls, "" for none, and the settings file that has it; None: WANDB_MODE.

    `wandb offline` writes it into the file of the working folder, which has priority over that of the user.
    """
    if mode := os.environ.get(MODE):
        return mode, None
    own = Path(os.path.expanduser(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb"))
    for path in (Path(".wandb" if Path(".wandb").exists() else "wandb", "settings"), own / "settings"):
        parser = configparser.ConfigParser()
        with suppress(OSError, ValueError, configparser.Error):
            parser.read(path, "utf-8")
            if mode := parser.get("default", "mode", fallback=""):
                return mode, path
    return "", None


def describe(project: str | None = None) -> str:
    """Where runs go by the environment, and what is ignored; empty if it says nothing. `project`: the sweep file's."""
    found = [
        f"{words} {hide_credentials(os.environ[name])} ({name})"
        for name, words in SHOWN.items()
        if os.environ.get(name)
    ]
    mode, file = chosen_mode()
    found += [f"mode {mode} ({file or MODE})"] * bool(mode)
    if found and project is not None and not os.environ.get("WANDB_PROJECT"):
        found.insert(0, f"project {project}")
    ignored = [name for name in ignored_variables(os.environ) if name != "WANDB_SERVICE"]
    if ignored:
        found.append(f"ignored, as hwcls names the runs: {', '.join(ignored)}")
    return "; ".join(found)


def _setting(variable: str) -> str:
    """The name of a setting by that of its variable: WANDB_RUN_ID is run_id, WANDB__LABEL is x_label."""
    name = variable.removeprefix(PREFIX).lower()
    return f"x{name}" if name.startswith("_") else name
