"""The undocumented parts of wandb that hwcls uses are there; they were last checked with the version named here."""

from pathlib import Path

import wandb
from wandb.sdk.wandb_run import Run

from hwcls.tracking.wandb import private

HELP = (
    f"{private.__file__} was written for wandb {private.VERSION}, this is {wandb.__version__}: adapt it, then VERSION"
)


def test_the_version_is_the_one_it_was_written_for():
    assert wandb.__version__.startswith(f"{private.VERSION}."), HELP


def test_the_settings_exist():
    missing = set(private.UNDOCUMENTED) - set(wandb.Settings.model_fields)
    assert not missing, f"wandb.Settings has no {sorted(missing)}. {HELP}"
    settings = private.run_settings(lambda: None, 1.0, 2.0)
    assert {name: getattr(settings, name) for name in private.UNDOCUMENTED} == private.UNDOCUMENTED, HELP


def test_a_run_tells_its_rows_and_its_log():
    assert isinstance(getattr(Run, "starting_step", None), property), f"Run.starting_step is gone. {HELP}"
    log = getattr(wandb.Settings, "log_internal", None)
    assert isinstance(log, property), f"Settings.log_internal is gone. {HELP}"


def test_wandb_core_logs_a_lost_upload_in_these_words():
    core = Path(wandb.__file__).parent / "bin" / "wandb-core"
    assert b"filestream: fatal error" in core.read_bytes(), HELP
    assert private.FATAL.search('{"msg":"filestream: fatal error: 401","x":1}')[0] == "filestream: fatal error: 401"
