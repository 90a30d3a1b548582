"""W&B's login: whether the credentials at hand are good."""

from __future__ import annotations

import threading

import wandb

from hwcls.errors import UserError
from hwcls.tracking.wandb.private import prepare_environment

prepare_environment()

ANSWER_SECONDS = 10.0  # to wait for the server
NO_ANSWER = f"its server gave no answer in {ANSWER_SECONDS:.0f} s"


def login_problem() -> str | None:
    """Why W&B cannot be used online, None when its credentials are good; never asks, answers in ANSWER_SECONDS."""
    answer: list[str | None] = []

    def log_in() -> None:
        try:
            good = wandb.login(prompt=False, verify=True)
            answer.append(None if good else "there are no credentials")
        except Exception as error:  # AuthenticationError, UsageError, any error of the network
            answer.append(str(error))

    thread = threading.Thread(target=log_in, daemon=True)  # login has no time limit
    thread.start()
    thread.join(ANSWER_SECONDS)
    return answer[0] if answer else NO_ANSWER


def require_login() -> None:
    """Raise UserError where W&B cannot be used online."""
    if problem := login_problem():
        raise UserError(f"W&B cannot go online: {problem}", remedy="run `wandb login`")
