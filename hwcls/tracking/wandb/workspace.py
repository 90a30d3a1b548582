"""A saved W&B workspace that compares the trials of a sweep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import wandb

from hwcls import files
from hwcls.errors import UserError, install_extra
from hwcls.reading import read_json, read_or_none
from hwcls.tracking.folders import SweepFolder
from hwcls.tracking.tracker import SweepSummary
from hwcls.tracking.wandb.environment import entity_name, project_name
from hwcls.tracking.wandb.login import require_login
from hwcls.tracking.wandb.settings import read_settings

MEDIA = ("confusion", "predictions", "activations", "reconstructions")


def save_workspace(folder: SweepFolder, view: SweepSummary, entity: str | None = None) -> str:
    """Save the workspace of a sweep, in place of the one saved before; returns its address.

    Args:
        folder: The sweep's folder.
        view: What is shown.
        entity: The user or team that owns it; None: that of the sweep's runs.

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
        owner = find_entity(folder, entity)
        saved = load_saved(workspaces.Workspace, known, view.project, owner)
        if saved is None:
            saved = workspaces.Workspace(entity=owner, project=view.project, name=f"hwcls {view.sweep}")
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


def find_entity(folder: SweepFolder, entity: str | None) -> str:
    """The user or team to own something of a sweep: `entity`, or else that of its runs, as WandbTracker names it.

    Raises:
        UserError: None is named, and the user has no default.
    """
    found = entity or entity_name(read_settings(folder).entity)
    if found is None:
        api = wandb.Api()
        found = api.settings["entity"] or api.default_entity  # of W&B's settings files, or else of the account
    if found is None:
        raise UserError("this W&B user has no default entity", remedy="pass --entity NAME")
    return str(found)


def runs_of(view: SweepSummary) -> str:
    """The filter for the runs of a sweep; as an expression, Config("sweep") would be W&B's own "Sweep"."""
    return f"Config('sweep') == {view.sweep!r}"


def load_saved(kind: Any, path: Path, project: str, entity: str) -> Any:
    """What was saved before; None: there is nothing, it is of another project or entity, or was deleted."""
    known = read_or_none(read_json, path, dict[str, str])
    try:
        saved = kind.from_url((known or {})["url"])
    except Exception:
        return None
    return saved if (saved.entity, saved.project) == (entity, project) else None


def _runset_settings(view: SweepSummary) -> Any:
    """The sweep's runs, the best first."""
    from wandb_workspaces import workspaces

    best = workspaces.Summary(f"best/{view.metric}")
    return workspaces.RunsetSettings(
        filters=runs_of(view),
        order=[workspaces.Ordering(best, ascending=view.goal == "minimize")],
        pinned_columns=[  # a score on test stands beside the trial that it is of, and the role of its run
            f"summary:best/{view.metric}",
            f"summary:test/{view.metric.partition('/')[2]}",
            "config:trial.value",
            "config:role.value",
            *(f"config:{axis.name}.value" for axis in view.settings[:4]),
        ],
    )


def curve_panels(view: SweepSummary) -> list[Any]:
    """Line plots of metric, accuracy and loss, and of the learning rate."""
    from wandb_workspaces.reports import v2 as panels

    def curve(*names: str) -> Any:
        return panels.LinePlot(title=names[0].partition("/")[2].replace("_", " "), x="epoch", y=list(names))

    shown = dict.fromkeys((view.metric.partition("/")[2], "accuracy", "loss"))
    return [*(curve(f"val/{name}", f"train/{name}") for name in shown), curve("lr")]


def search_panels(view: SweepSummary) -> list[Any]:
    """How settings, size and speed go with the metric."""
    from wandb_workspaces.reports import v2 as panels

    best = panels.SummaryMetric(f"best/{view.metric}")
    columns = [
        panels.ParallelCoordinatesPlotColumn(panels.Config(axis.name), log=axis.log or None) for axis in view.settings
    ]
    columns.append(panels.ParallelCoordinatesPlotColumn(best))
    return [
        panels.ParallelCoordinatesPlot(title="settings side by side", columns=columns),
        panels.ParameterImportancePlot(with_respect_to=f"best/{view.metric}"),
        panels.ScatterPlot(title="against parameters", x=panels.SummaryMetric("parameters"), y=best, log_x=True),
        panels.ScatterPlot(title="against inference", x=panels.SummaryMetric("inference_ms"), y=best, log_x=True),
    ]


def _sections(view: SweepSummary) -> list[Any]:
    from wandb_workspaces import workspaces
    from wandb_workspaces.reports import v2 as panels

    models = [
        panels.MediaBrowser(title="pictures", media_keys=list(MEDIA)),
        panels.WeavePanelSummaryTable(table_name="per_class"),
        panels.RunComparer(diff_only="split"),
    ]
    return [
        workspaces.Section(name="Curves", panels=curve_panels(view), is_open=True),
        workspaces.Section(name="Search", panels=search_panels(view), is_open=True),
        workspaces.Section(name="Models", panels=models, is_open=True),
    ]
