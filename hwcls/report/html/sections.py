"""The sections of the page, in order: those that have something to show, and what each finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hwcls.report.html import findings
from hwcls.results.load import SweepResults


@dataclass(frozen=True)
class Section:
    """One entry of the contents list."""

    id: str
    title: str
    template: str  # in sections/
    finding: str = ""  # in one sentence

    @property
    def short(self) -> str:
        """The title in the contents list."""
        return self.title.partition(" of ")[0]


def list_sections(sweep: SweepResults, values: Mapping[str, Any], classes: list[str]) -> list[Section]:
    """The sections below the answer, by what `values` of the page has for them."""
    sections = [
        *_compared(sweep, values, classes),
        Section("leaderboard", "Leaderboard", "leaderboard", findings.find_leaderboard(sweep)),
    ]
    if values["charts"]["search"]:
        sections.append(Section("search", "Search", "search", findings.find_search(values["importances"])))
    if found := values["diagnostics"]:
        title = f"Diagnostics of {values['represented']}"
        sections.append(Section("diagnostics", title, "diagnostics", findings.find_diagnostics(found, classes)))
    if values["mislabelled"].runs > 1:
        finding = findings.find_mislabelled(values["mislabelled"])
        sections.append(Section("mislabelled", "Possibly mislabelled images", "mislabelled", finding))
    if found := values["out_of_fold"]:
        sections.append(Section("out-of-fold", "Out-of-fold scores", "out_of_fold", findings.find_out_of_fold(found)))
    if found := values["failures"]:
        sections.append(Section("failures", "Failures", "failures", findings.find_failures(found, values["failed"])))
    facts = Section("facts", "Run details", "run_facts", findings.find_facts(sweep))
    return [*sections, facts, Section("reproduce", "Reproduce", "reproduce", findings.REPRODUCE)]


def _compared(sweep: SweepResults, values: Mapping[str, Any], classes: list[str]) -> list[Section]:
    """What is compared between alternatives: the front, their scores and how they learned."""
    sections = []
    if notes := values["front_notes"]:
        sections.append(Section("front", "Pareto front", "front", notes[0]))
    if rows := values["alternatives"]:
        finding = findings.find_alternatives(sweep, rows, values["confirmed"])
        sections.append(Section("alternatives", f"Alternatives of {sweep.compare}", "alternatives", finding))
    if winners := values["winners"]:
        finding = findings.find_test_scores(winners, classes)
        sections.append(Section("test-scores", "Test scores by class", "test_scores", finding))
    dynamics = values["dynamics"]
    if dynamics and (len(dynamics[0].at_epochs) > 1 or any(one.test for one in dynamics)):
        finding = findings.find_dynamics(dynamics, values["target"])
        sections.append(Section("dynamics", "Learning dynamics", "learning_dynamics", finding))
    if values["charts"]["curves"]:
        sections.append(Section("curves", "Learning curves", "curves", findings.find_curves(sweep)))
    return sections
