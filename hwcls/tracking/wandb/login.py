"""W&B's login: whether its server answers, and whether the credentials at hand are good."""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import wandb

from hwcls.config.sweep import LoginProblem
from hwcls.errors import UserError
from hwcls.tracking.wandb.private import prepare

ANSWER_SECONDS = 10.0  # to wait for the server
PROBE_SECONDS = 2.0  # after which it is asked in another way what is wrong
WAIT = "wait until it is there again"


def login_problem() -> LoginProblem | None:
    """Why W&B cannot be used online, None when its credentials are good; never asks, answers in ANSWER_SECONDS."""
    try:
        url = prepare()
    except ValueError as error:  # a variable such as WANDB_MODE with a value that W&B does not know
        return LoginProblem(f"its settings are not valid ({' '.join(str(error).split())[:200]})", "correct WANDB_...")
    answer: list[LoginProblem | None] = []

    def log_in() -> None:
        try:
            good = wandb.login(prompt=False, verify=True)
            answer.append(None if good else LoginProblem("there are no credentials", "run `wandb login`"))
        except Exception as error:  # AuthenticationError, UsageError, any error of the network
            answer.append(_refused(url, str(error)))

    reason: list[LoginProblem] = []
    login = threading.Thread(target=log_in, daemon=True)  # it has no time limit, and tries again in silence
    login.start()
    login.join(PROBE_SECONDS)
    if login.is_alive():
        threading.Thread(target=lambda: reason.append(probe(url)), daemon=True).start()
        login.join(ANSWER_SECONDS - PROBE_SECONDS)
    if answer:
        return answer[0]
    return reason[0] if reason else _no_answer(url)


def require_login() -> None:
    """Raise UserError where W&B cannot be used online."""
    if problem := login_problem():
        raise UserError(f"W&B cannot go online: {problem}", remedy=problem.remedy)


def probe(url: str) -> LoginProblem:
    """Why a server does not let wandb log in, found by one request."""
    host = urlsplit(url).hostname or url
    try:
        with urllib.request.urlopen(
            f"{url.rstrip('/')}/graphql", data=b"{}", timeout=ANSWER_SECONDS - PROBE_SECONDS - 1
        ):
            return _no_answer(url)
    except urllib.error.HTTPError as error:
        return _status_problem(url, error.code)
    except (OSError, ValueError) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, socket.gaierror):
            return LoginProblem(
                f"there is no server '{host}' (DNS)", "check the network and WANDB_BASE_URL", passing=True
            )
        if isinstance(cause, ConnectionRefusedError):
            return LoginProblem(
                f"{url} refuses the connection", "check WANDB_BASE_URL, or start the server", passing=True
            )
        if isinstance(cause, ssl.SSLError):
            return LoginProblem(
                f"{url}: no encrypted connection ({cause.reason})", "check WANDB_BASE_URL and certificates"
            )
        if isinstance(cause, TimeoutError):
            return _no_answer(url)
        return LoginProblem(f"{url} cannot be reached ({cause})", "check the network and WANDB_BASE_URL", passing=True)


def _no_answer(url: str) -> LoginProblem:
    return LoginProblem(
        f"{url} gave no answer in {ANSWER_SECONDS:.0f} s", "check the network, or " + WAIT, passing=True
    )


def _status_problem(url: str, status: int) -> LoginProblem:
    """What an answer with a status other than 200 means."""
    if status == 401:
        return LoginProblem(f"{url} does not know the key (401)", "run `wandb login --relogin`")
    if status == 403:
        return LoginProblem(f"{url} denies this account the access (403)", "check the account, and WANDB_ENTITY")
    if status == 404:
        return LoginProblem(f"{url} is no W&B server (404)", "check WANDB_BASE_URL")
    if status == 429:
        return LoginProblem(f"{url} takes no more requests for now (429)", WAIT, passing=True)
    passing = status >= 500
    return LoginProblem(f"{url} answers with an error ({status})", WAIT if passing else "check WANDB_BASE_URL", passing)


def _refused(url: str, error: str) -> LoginProblem:
    """The meaning of what wandb.login raised."""
    if status := re.search(r"returned error (\d{3})", error):
        return _status_problem(url, int(status[1]))
    where = "WANDB_API_KEY" if os.environ.get("WANDB_API_KEY") else "the key"
    return LoginProblem(error, f"correct {where}, or run `wandb login --relogin`")
