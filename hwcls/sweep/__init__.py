"""Sweeps: many trainings that are drawn, run on warm groups of ranks, and recorded so that none is lost.

Ray reads these variables when it is imported, so they are set before any module here can import it.
"""

import os
from pathlib import Path

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "(?s).")  # everything that raylets print
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")  # hwcls resumes from its own records, not Tune's snapshot
os.environ.setdefault("TUNE_ONLY_STORE_CHECKPOINT_SCORE_ATTRIBUTE", "1")  # checkpoints keep no metrics in memory
if Path("~/.ray/auth_token").expanduser().exists():  # of a cluster; Ray sends it in this mode only
    os.environ.setdefault("RAY_AUTH_MODE", "token")
