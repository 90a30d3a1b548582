"""`trackers: {wandb: ...}` of a sweep file."""

from __future__ import annotations

import importlib.util
import re
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, WithJsonSchema

from hwcls.config.sweep import TrackerSettings
from hwcls.errors import UserError, install_extra
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.tracker import read_tracker_settings

TAG_LENGTH, GROUP_LENGTH = 64, 128  # characters that W&B takes at most


def check_entity(name: str) -> str:
    """The name of a user or team; raises ValueError."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise ValueError(f"'{name}' is not a user or team of W&B — write its name alone")
    return name


def _check_tag(tag: str) -> str:
    """A tag that W&B takes; raises ValueError."""
    if not tag.strip() or len(tag) > TAG_LENGTH:
        raise ValueError(f"W&B refuses a tag of {len(tag.strip())} characters — write 1 to {TAG_LENGTH}")
    return tag


Tag = Annotated[
    str, AfterValidator(_check_tag), WithJsonSchema({"type": "string", "pattern": r"\S", "maxLength": TAG_LENGTH})
]


def _check_group(name: str) -> str:
    """A group or a type of job that W&B takes; raises ValueError."""
    if not name.strip() or len(name) > GROUP_LENGTH:
        raise ValueError(f"W&B refuses a name of {len(name.strip())} characters — write 1 to {GROUP_LENGTH}")
    return name


_GROUP: dict[str, JsonValue] = {"pattern": r"\S", "maxLength": GROUP_LENGTH}  # as an editor checks it
_PART = r"[^/\\#?%:\s][^/\\#?%:\r\n]{0,99}"  # of a registry's path


def _check_registry(path: str) -> str:
    """REGISTRY, REGISTRY/COLLECTION or ORGANISATION/REGISTRY/COLLECTION; raises ValueError."""
    parts = path.split("/")
    if len(parts) > 3 or not all(re.fullmatch(_PART, part) for part in parts):
        raise ValueError(
            f"'{path}' is not a registry of W&B — write its name, such as model, or model/COLLECTION,"
            " without \\ # ? % :"
        )
    return path


class WandbSettings(TrackerSettings):
    """Who owns the runs, what they are called, and what W&B gets of the sweep as a whole."""

    entity: Annotated[str, AfterValidator(check_entity)] | None = Field(
        None,
        description="The user or team that owns the runs. By default your own.",
        examples=["my-team"],
        json_schema_extra={"pattern": r"^[\w.-]+$"},
    )
    tags: Annotated[tuple[Tag, ...], Field(strict=False)] = Field(
        (), description="Further tags of each run.", examples=[["baseline"]]
    )
    notes: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Notes of each run. By default none.", examples=["with the new photos"]
    )
    group: Annotated[str, AfterValidator(_check_group)] | None = Field(
        None,
        description="Group of the runs. By default the sweep's name.",
        examples=["photos"],
        json_schema_extra=_GROUP,
    )
    job_type: Annotated[str, AfterValidator(_check_group)] | None = Field(
        None,
        description="Type of the runs. By default `trial` or `confirm`.",
        examples=["search"],
        json_schema_extra=_GROUP,
    )
    registry: Annotated[str, AfterValidator(_check_registry)] | None = Field(
        None,
        description="W&B registry that links the best weights. By default none.",
        examples=["model"],
        json_schema_extra={"pattern": f"^{_PART}(/{_PART}){{0,2}}$"},
    )
    page: bool = Field(False, description="Upload `report.html` at the end.")
    report: bool = Field(False, description="Save a W&B report that compares the alternatives at the end.")

    @property
    def uploads_weights(self) -> bool:
        return self.registry is not None

    def check_installed(self, where: str) -> None:
        if self.report and importlib.util.find_spec("wandb_workspaces") is None:
            remedy = f"{install_extra('workspace')}, or write report: false"
            raise UserError("report: true needs wandb-workspaces, which is not installed", where=where, remedy=remedy)

    def registry_target(self, sweep: str) -> str:
        """The collection for `Run.link_artifact`; by default it is named after the sweep."""
        *organisation, registry, collection = (parts := (self.registry or "").split("/")) + [sweep] * (len(parts) == 1)
        return "/".join([*organisation, f"wandb-registry-{registry}", collection])


def read_settings(sweep: SweepFolder) -> WandbSettings:
    """The settings in a sweep's folder; the defaults where it has none, or where they are damaged."""
    return read_tracker_settings(sweep, "wandb", WandbSettings)
