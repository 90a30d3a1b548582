"""The cuts of confirm runs, checked before the start: they must be possible, and those of an earlier start."""

from __future__ import annotations

from hwcls.config.data import DataConfig
from hwcls.config.sweep_file import Sweep
from hwcls.data.imageset import ImageSet, open_data
from hwcls.errors import UserError
from hwcls.results.confirm.cuts import Cut, list_cuts, plan_cut
from hwcls.results.confirm.plan import place_of
from hwcls.results.load import PICK
from hwcls.tracking.folders import SweepFolder


def check_cuts(sweep: Sweep, sets: dict[DataConfig, ImageSet]) -> dict[DataConfig, ImageSet]:
    """Open each data set in a cut of the confirm runs, the others being of the same kind.

    Raises:
        UserError: It brings its own val, or has too few images of a class for the folds.
    """
    cuts = list_cuts(sweep.config.confirm)
    opened: dict[DataConfig, ImageSet] = {}
    for config, images in sets.items() if cuts else ():
        where = sweep.source.where(("confirm", "splits"))
        if "val" not in images.origin.shares:
            what = f"{images.title} brings its own val, so that train and val cannot be cut in another way"
            raise UserError(what, where=where, remedy="remove splits, or put the images of val into train")
        data = cuts[-1].apply(config)
        try:
            opened[data.pixels()] = open_data(data)
        except UserError as error:
            remedy = error.remedy
            if sweep.config.confirm and sweep.config.confirm.folds is None:
                remedy = remedy.replace(" folds, or", " seeds, or")  # of which each is a fold
            raise UserError(error.what, where=where, remedy=remedy) from None
    return opened


def check_same_cuts(sweep: Sweep, folder: SweepFolder) -> None:
    """Raise UserError where confirm runs of an earlier start were cut in another way than `confirm` says now."""
    config = sweep.config.confirm
    for (label, seed), run in folder.confirm_runs().items() if config else ():
        purpose = run.purpose()
        trial, picks = purpose.get("trial"), purpose.get("role") == PICK
        if not isinstance(trial, int):
            continue  # of a version without roles, or damaged
        place = place_of(seed, trial, picks=picks)
        assert config is not None
        if place is not None and Cut.from_record(purpose.get("cut")) != plan_cut(config, place, picks=picks):
            what = f"confirm runs such as {label}/{seed} have other splits than confirm says now"
            remedy = "set splits, and with folds also seeds or folds, as they were, or pass --new"
            raise UserError(what, where=sweep.source.where(("confirm", "splits")), remedy=remedy)
