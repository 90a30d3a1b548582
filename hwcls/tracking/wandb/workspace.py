"""A saved W&B workspace that compares the trials of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import wandb

from hwcls import files
from hwcls.errors import UserError, install_extra
from hwcls.reading import read_json, read_or_none
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.wandb.environment import project_name
from hwcls.tracking.wandb.login import require_login

MEDIA = ("confusion", "predictions", "activations", "reconstructions")


@dataclass(frozen=True)
class Axis:
    """A searched setting, by its flat name."""

    name: str
    log: bool = False


@dataclass(frozen=True)
class View:
    """Contents of the workspace."""

    sweep: str
    project: str
    metric: str
    goal: str  # maximize or minimize
    settings: Sequence[Axis]
    entity: str | None = None  # None: the user's default


def save_workspace(folder: SweepFolder, view: View) -> str:
    """Save the workspace of a sweep, in place of the one saved before; returns its address.

    Raises:
        UserError: wandb-workspaces is not installed, no good credentials, or W&B refuses.
    """
    try:
        from wandb_workspaces import workspaces
    except ImportError:
        remedy = install_extra("workspace")
        raise UserError("wandb-workspaces is not installed", where="hwcls wandb workspace", remedy=remedy) from None
    require_login()
    view = replace(view, project=project_name(view.project))
    known = folder.path / "wandb" / "workspace.json"
    try:
        saved = _load_saved(workspaces, known, view)
        if saved is None:
            entity = view.entity or wandb.Api().default_entity
            if entity is None:
                raise UserError("this W&B user has no default entity", remedy="pass --entity NAME")
            saved = workspaces.Workspace(entity=entity, project=view.project, name=f"hwcls {view.sweep}")
        saved.sections = _sections(view)
        saved.settings = workspaces.WorkspaceSettings(x_axis="epoch", group_by_prefix="first")
        saved.runset_settings = _runset_settings(view)
        saved.save()
        url = str(saved.url)
    except UserError:
        raise
    except Exception as error:  # of requests or wandb, or a project without access
        remedy = f"can you see the project '{view.project}' in the browser? It is created by its first online run"
        raise UserError(f"W&B did not take the workspace: {error}", remedy=remedy) from None
    files.write_json(known, {"url": url})
    return url


def _load_saved(workspaces: Any, path: Any, view: View) -> Any:
    """The workspace that was saved before; None if there is none, it is of another project, or it was deleted."""
    known = read_or_none(read_json, path, dict[str, str])
    try:
        saved = workspaces.Workspace.from_url((known or {})["url"])
    except Exception:
        return None
    return saved if saved.project == view.project and view.entity in (None, saved.entity) else None


def _runset_settings(view: View) -> Any:
    """The sweep's runs, the best first."""
    from wandb_workspaces import workspaces

    best = workspaces.Summary(f"best/{view.metric}")
    return workspaces.RunsetSettings(
        filters=[workspaces.Config("sweep") == view.sweep],
        order=[workspaces.Ordering(best, ascending=view.goal == "minimize")],
        pinned_columns=[  # a score on test stands beside the trial that it is of, and the role of its run
            f"summary:best/{view.metric}",
            f"summary:test/{view.metric.partition('/')[2]}",
            "config:trial",
            "config:role",
            *(f"config:{axis.name}" for axis in view.settings[:4]),
        ],
    )


def _sections(view: View) -> list[Any]:
    from wandb_workspaces import workspaces
    from wandb_workspaces.reports import v2 as panels

    def curve(*names: str) -> Any:
        return panels.LinePlot(title=names[0].partition("/")[2].replace("_", " "), x="epoch", y=list(names))

    metric = view.metric.partition("/")[2]
    best = panels.SummaryMetric(f"best/{view.metric}")
    columns = [
        panels.ParallelCoordinatesPlotColumn(panels.Config(axis.name), log=axis.log or None) for axis in view.settings
    ]
    columns.append(panels.ParallelCoordinatesPlotColumn(best))
    curves = [curve(f"val/{name}", f"train/{name}") for name in dict.fromkeys((metric, "accuracy", "loss"))]
    search = [
        panels.ParallelCoordinatesPlot(title="settings side by side", columns=columns),
        panels.ParameterImportancePlot(with_respect_to=f"best/{view.metric}"),
        panels.ScatterPlot(title="against parameters", x=panels.SummaryMetric("parameters"), y=best, log_x=True),
        panels.ScatterPlot(title="against inference", x=panels.SummaryMetric("inference_ms"), y=best, log_x=True),
    ]
    models = [
        panels.MediaBrowser(title="pictures", media_keys=list(MEDIA)),
        panels.WeavePanelSummaryTable(table_name="per_class"),
        panels.RunComparer(diff_only="split"),
    ]
    return [
        workspaces.Section(name="Curves", panels=[*curves, curve("lr")], is_open=True),
        workspaces.Section(name="Search", panels=search, is_open=True),
        workspaces.Section(name="Models", panels=models, is_open=True),
    ]
