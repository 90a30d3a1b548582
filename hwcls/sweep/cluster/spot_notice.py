"""The notice that a spot instance will be taken away: read on the node and passed on to Ray, which drains the node.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

from hwcls.sweep.cluster.ray_private import drain_node

METADATA = "AWS_EC2_METADATA_SERVICE_ENDPOINT"  # the variable of AWS's own tools
SERVER = "http://169.254.169.254"
VENDOR = Path("/sys/devices/virtual/dmi/id/sys_vendor")  # SERVER is asked on Amazon's machines only
EVERY = 5.0  # seconds, as AWS recommends
TIMEOUT = 2.0  # seconds for a response
TOKEN_TTL = 21_600  # seconds, the longest that AWS permits
DEFAULT_NOTICE = 120.0  # seconds left when a notice names no time


def drain_on_notice() -> None:
    """Run next to a rank: drain this node when its notice comes, so that the rank's trial moves."""
    import ray

    if deadline := wait_for_notice():
        drain_node(ray.get_runtime_context().get_node_id(), deadline)


def wait_for_notice() -> float | None:
    """Return the time of this node's removal as soon as there is a notice; None where there is no metadata server."""
    if (deadline := read_notice()) == 0.0:
        return None
    while not deadline:  # from here on a server that does not respond is only slow
        time.sleep(EVERY)
        deadline = read_notice()
    return deadline


def read_notice() -> float | None:
    """When this instance is taken away (seconds since 1970), None without a notice, 0 without a metadata server."""
    server = _metadata_server()
    if server is None:
        return 0.0
    try:
        token = _request(server, "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_TTL)})
    except OSError:  # an instance without metadata
        return 0.0
    try:
        headers = {"X-aws-ec2-metadata-token": token}
        notice = json.loads(_request(server, "GET", "/latest/meta-data/spot/instance-action", headers))
    except (OSError, ValueError):  # 404: no notice
        return None
    try:
        return datetime.strptime(notice["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except (KeyError, TypeError, ValueError):
        return time.time() + DEFAULT_NOTICE


def _metadata_server() -> str | None:
    if named := os.environ.get(METADATA):
        return named.rstrip("/")
    try:
        return SERVER if VENDOR.read_text("utf-8").startswith("Amazon EC2") else None
    except OSError:
        return None


def _request(server: str, method: str, path: str, headers: dict[str, str]) -> str:
    with urlopen(Request(server + path, headers=headers, method=method), timeout=TIMEOUT) as response:
        return str(response.read().decode())
