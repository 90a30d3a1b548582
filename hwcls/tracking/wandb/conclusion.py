"""What W&B gets of a sweep as a whole when it ends: its page, a report and an alert."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wandb

from hwcls.errors import UserError
from hwcls.format import join_words
from hwcls.tracking.cursor import Cursor
from hwcls.tracking.tracker import Alert, SweepSummary
from hwcls.tracking.wandb.private import raise_if_upload_failed
from hwcls.tracking.wandb.report import save_report
from hwcls.tracking.wandb.run import Place, artifact_name, run_within, upload_seconds

KEY = "sweep"  # in the cursor
REPORT_SECONDS = 20.0  # that a report may take
TITLE_LENGTH = 63  # of an alert at most

log = logging.getLogger(__name__)


def describe_failure(what: str, error: Exception) -> str:
    """One line on what W&B did not take of a sweep; it is logged too."""
    text = f"W&B did not take {what}: {str(error) or type(error).__name__}"
    text = " ".join((str(error) if isinstance(error, UserError) else text).split())
    log.warning("%s", text)
    return text


@dataclass(frozen=True)
class Conclusion:
    """Shows a sweep as a whole, as far as its settings ask for it; what fails costs one line.

    Page and alert belong to a run of their own. Offline the page is recorded for a later sync, as runs are.

    Args:
        place: Where the sweep's runs go.
        cursor: Remembers which page W&B has.
        run_id: Of the sweep's own run.
        summary: What the sweep has found.
    """

    place: Place
    cursor: Cursor
    run_id: str
    summary: SweepSummary

    def deliver(self, alert: Alert | None = None) -> list[str]:
        """Upload the page, save the report and send the alert; returns what failed, a line each."""
        offline, page = self.place.mode == "offline", self._new_page()
        online_only = ["report"] * self.place.settings.report + ["alert"] * (alert is not None)
        lost = [f"W&B is offline and got no {' and no '.join(online_only)}"] if offline and online_only else []
        wanted = ["page"] * (page is not None) + ([] if offline else online_only)
        try:
            if page is not None or (alert is not None and not offline):
                self._log(page, None if offline else alert)
                wanted = ["report"]  # after a server that does not answer there is no second wait
            if self.place.settings.report and not offline:
                run_within(REPORT_SECONDS, self._save_report)
        except Exception as error:  # of any library
            return [*lost, describe_failure(join_words(wanted), error)]
        return lost

    def _save_report(self) -> None:
        save_report(self.place.sweep, self.summary)

    def _new_page(self) -> Path | None:
        """report.html, unless W&B has it as it is now or is not to get it."""
        page, known = self.summary.page, self.cursor.get(KEY)
        if not self.place.settings.page or page is None or not page.is_file():
            return None
        return None if known.get("page") == _digest(page) and self.place.has(known, self.summary.project) else page

    def _log(self, page: Path | None, alert: Alert | None) -> None:
        """Put the page and the alert into the sweep's own run."""
        self.place.delete_offline_files(self.run_id, self.cursor.get(KEY))
        handle = self._open(upload_seconds(page))
        handle.summary.update({"answer": self.summary.answer})
        if alert is not None:
            handle.alert(alert.title[:TITLE_LENGTH], alert.text, alert.level)
        if page is not None:
            artifact = wandb.Artifact(artifact_name(self.summary.sweep, "page"), type="page")
            artifact.add_file(str(page), name="report.html")
            handle.log_artifact(artifact)
        url = handle.url
        handle.finish(exit_code=0)
        raise_if_upload_failed(handle)
        address = self.place.address(self.summary.project) | ({"url": url} if url else {})
        address |= self.place.offline_root()
        self.cursor.update(KEY, id=self.run_id, mode=self.place.mode, **address)
        if page is not None:
            self.cursor.update(KEY, page=_digest(page))

    def _open(self, upload: float) -> Any:
        name = self.summary.sweep
        tags = self.place.tags([name])
        return self.place.open_run(self.summary.project, self.run_id, upload, name=name, job_type="sweep", tags=tags)


def _digest(page: Path) -> str:
    return hashlib.blake2b(page.read_bytes(), digest_size=8).hexdigest()
