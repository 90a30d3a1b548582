"""The cluster files: what Ray and AWS make of them, and that they open and tell nothing that they should not."""

import copy
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
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
    assert not re.search(r"AKIA[0-9A-Z]{12}|[0-9a-f]{40}|WANDB_API_KEY|aws_secret|BEGIN .*PRIVATE", text, re.IGNORECASE)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_is_started_on_aws(monkeypatch, capsys):
    """Ray's own provider against a stand-in for AWS: the head, a spot worker, and the one on demand."""
    moto = pytest.importorskip("moto", reason="moto is not installed: pip install -e '.[test]'")
    import boto3
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler.tags import TAG_RAY_CLUSTER_NAME, TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE

    monkeypatch.delenv("AWS_ENDPOINT_URL")
    config = checked(yaml.safe_load((ROOT / "cluster.yaml").read_text()))
    with moto.mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        iam, ec2 = boto3.client("iam"), boto3.client("ec2")
        for name in ("hwcls-head", "hwcls-worker"):
            iam.create_instance_profile(InstanceProfileName=name)
            iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        config = AWSNodeProvider.fillout_available_node_types_resources(config)
        config = AWSNodeProvider.bootstrap_config(config)
        provider = AWSNodeProvider(config["provider"], config["cluster_name"])
        for name, kind in config["available_node_types"].items():
            tags = {TAG_RAY_CLUSTER_NAME: "hwcls", TAG_RAY_USER_NODE_TYPE: name}
            tags[TAG_RAY_NODE_KIND] = "head" if name == config["head_node_type"] else "worker"
            provider.create_node(kind["node_config"], tags, 1)
        found = [one for kept in ec2.describe_instances()["Reservations"] for one in kept["Instances"]]
        made = {tag["Value"]: one for one in found for tag in one["Tags"] if tag["Key"] == TAG_RAY_USER_NODE_TYPE}
        (group,) = ec2.describe_security_groups(GroupNames=["hwcls"])["SecurityGroups"]
        volumes = ec2.describe_volumes()["Volumes"]

    with capsys.disabled():
        print()
        for name, one in made.items():
            profile = one["IamInstanceProfile"]["Arn"].rpartition("/")[2]
            kind = one.get("InstanceLifecycle", "on demand")
            print(f"{name:14} {one['InstanceType']:11} {kind:10} {profile:13} {one['SecurityGroups'][0]['GroupName']}")
    assert {name: one.get("InstanceLifecycle") for name, one in made.items()} == {
        "head": None,
        "gpu_spot": "spot",
        "gpu_on_demand": None,
    }
    assert made["head"]["InstanceType"] == "m7i.large"
    assert made["gpu_spot"]["InstanceType"] == made["gpu_on_demand"]["InstanceType"] == "g6.2xlarge"
    for name, one in made.items():
        assert one["IamInstanceProfile"]["Arn"].endswith("/hwcls-head" if name == "head" else "/hwcls-worker")
        assert "base-oss-nvidia-driver-gpu-ubuntu" in one["ImageId"]
        assert (one["MetadataOptions"]["HttpTokens"], one["MetadataOptions"]["HttpPutResponseHopLimit"]) == (
            "required",
            2,
        )
        assert [used["GroupName"] for used in one["SecurityGroups"]] == ["hwcls"]
    assert len(volumes) == 3
    assert all(volume["Encrypted"] for volume in volumes)
    opened = [rule["FromPort"] for rule in group["IpPermissions"] if rule["IpRanges"] or rule["Ipv6Ranges"]]
    assert opened == [22]
    inside = [rule for rule in group["IpPermissions"] if rule["UserIdGroupPairs"]]
    assert [pair["GroupId"] for rule in inside for pair in rule["UserIdGroupPairs"]] == [group["GroupId"]]

    resources = {name: kind["resources"] for name, kind in config["available_node_types"].items()}
    assert resources["head"] == {"CPU": 0, "GPU": 0}
    assert resources["gpu_spot"].items() >= {"CPU": 8, "GPU": 1}.items()
    priority = {name: kind.get("priority", 0) for name, kind in config["available_node_types"].items()}
    assert priority["gpu_spot"] > priority["gpu_on_demand"]
