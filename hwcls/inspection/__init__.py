"""Inspection of trainings: sanity checks, profiles, recorded gradients and activations, evaluation, export."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hwcls.training.observer import Observer


def create_recorder() -> Observer:
    """The observer whose arrays are saved as a trial's inspection.npz; torch is imported only when it is called."""
    from hwcls.inspection.record import InspectionRecorder

    return InspectionRecorder()
