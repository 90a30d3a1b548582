"""A spot instance's notice that it will be taken away: seen on the node, told to Ray, which places nothing there then.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

METADATA = "AWS_EC2_METADATA_SERVICE_ENDPOINT"  # the variable of AWS's own tools
SERVER = "http://169.254.169.254"
VENDOR = Path("/sys/devices/virtual/dmi/id/sys_vendor")  # elsewhere that address is nobody's, and is not asked
EVERY = 5.0  # seconds, as AWS recommends
PATIENCE = 2.0  # seconds for an answer
TOKEN_LIVES = 21_600  # seconds, the most there are
SOON = 120.0  # seconds that a notice leaves where it names no time


def await_notice() -> float | None:
    """Runs on a node: returns when it will be taken away, as soon as that is known; None where nobody can tell."""
    if (deadline := notice()) == 0.0:
        return None
    while not deadline:  # from here on a server that does not answer is only slow
        time.sleep(EVERY)
        deadline = notice()
    return deadline


def notice() -> float | None:
    """When this instance is taken away (seconds since 1970), None while it is not, 0 where nobody could tell."""
    server = _server()
    if server is None:
        return 0.0
    try:
        token = _ask(server, "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_LIVES)})
    except OSError:  # an instance that tells nothing
        return 0.0
    try:
        headers = {"X-aws-ec2-metadata-token": token}
        told = json.loads(_ask(server, "GET", "/latest/meta-data/spot/instance-action", headers))
    except (OSError, ValueError):  # 404: no notice
        return None
    try:
        return datetime.strptime(told["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except (KeyError, TypeError, ValueError):
        return time.time() + SOON


def leave_in_time() -> None:
    """Runs beside a rank: tells Ray when this node gets its notice, so that the rank's trial moves."""
    import ray

    if deadline := await_notice():
        drain(ray.get_runtime_context().get_node_id(), deadline)


def drain(node: str, deadline: float) -> None:
    """Tell Ray that a node, by its id, goes away at `deadline`: nothing new is placed there, and its groups leave."""
    import ray
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated import autoscaler_pb2

    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    client = GcsClient(address=ray.get_runtime_context().gcs_address)
    client.drain_node(node, reason, "spot instance notice", int(deadline * 1000))


def _server() -> str | None:
    if named := os.environ.get(METADATA):
        return named.rstrip("/")
    try:
        return SERVER if VENDOR.read_text("utf-8").startswith("Amazon EC2") else None
    except OSError:
        return None


def _ask(server: str, method: str, path: str, headers: dict[str, str]) -> str:
    with urlopen(Request(server + path, headers=headers, method=method), timeout=PATIENCE) as answer:
        return str(answer.read().decode())
