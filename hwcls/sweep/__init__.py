"""Many trainings: drawn, run on warm groups of ranks, recorded, and never lost.

Ray reads these variables when it is imported, so they are set before any module here can import it.
"""

import os
from pathlib import Path

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault(
    "RAY_DEDUP_LOGS_SKIP_REGEX", "(?s)."
)  # what its raylets print, all of it: log_to_driver spares it
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault(
    "TUNE_GLOBAL_CHECKPOINT_S", "3600"
)  # hwcls goes on from its own records, not from Tune's snapshot
os.environ.setdefault(
    "TUNE_ONLY_STORE_CHECKPOINT_SCORE_ATTRIBUTE", "1"
)  # or each checkpoint keeps its metrics in memory
if Path("~/.ray/auth_token").expanduser().exists():  # of a cluster that asks for it; Ray sends it only where it is told
    os.environ.setdefault("RAY_AUTH_MODE", "token")
