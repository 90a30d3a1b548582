"""The cluster files: Ray accepts them, and they open and tell nothing that they should not. AWS: test_aws.py."""

import copy
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FILES = [ROOT / "cluster.yaml", ROOT / "cluster.local.yaml"]


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def file(request):
    return request.param


def checked(values):
    """A cluster file as Ray reads it; raises where it is none."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(copy.deepcopy(values))
    validate_config(config)
    return config


def test_ray_accepts_it_and_no_unknown_key(file):
    values = yaml.safe_load(file.read_text())
    assert checked(values)["cluster_name"] == "hwcls"
    with pytest.raises(Exception, match="max_wrkers"):
        checked({**values, "max_wrkers": 3})


def test_nothing_listens_to_the_world_and_the_token_is_asked_for(file):
    values = yaml.safe_load(file.read_text())
    head, worker = (" ".join(values[f"{kind}_start_ray_commands"]) for kind in ("head", "worker"))
    assert "--dashboard-host=127.0.0.1" in head
    assert "--num-cpus=0 --num-gpus=0" in head
    assert "RAY_AUTH_MODE=token ray start" in worker
    assert "RAY_AUTH_MODE=token" in head
    assert values["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}
    assert "0.0.0.0" not in file.read_text()


def test_no_key_stands_in_it(file):
    text = file.read_text()
    secret = r"A[KS]IA[0-9A-Z]{12}|[0-9a-f]{40}|WANDB_API_KEY|aws_(secret|access)|RAY_AUTH_TOKEN|BEGIN .*PRIVATE"
    assert not re.search(secret, text, re.IGNORECASE)
