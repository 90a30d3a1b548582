"""cluster.yaml: what it opens, and what Ray's own provider starts from it on a stand-in for AWS."""

import copy
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FILE = ROOT / "cluster.yaml"
ROLES = ("hwcls-head", "hwcls-worker")
WORKERS = ("gpu_spot", "gpu_on_demand")
POLICIES = re.findall(
    r"```json\n(.*?)```", (ROOT / "docs/how-to/cluster.md").read_text("utf-8"), re.DOTALL
)  # bucket, head
HERE = "203.0.113.7/32"  # the address that may come in by SSH


@pytest.fixture(scope="module")
def written():
    return yaml.safe_load(FILE.read_text())


def checked(values):
    """A cluster file as `ray up` reads it; raises where it is none."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(copy.deepcopy(values))
    validate_config(config)
    return config


@pytest.mark.slow
def test_ray_accepts_it_and_no_unknown_key(written):
    config = checked(written)
    assert config["available_node_types"]["head"]["max_workers"] == 0
    assert {config["available_node_types"][name]["max_workers"] for name in WORKERS} == {written["max_workers"]}
    assert config["head_setup_commands"] == config["worker_setup_commands"] == []  # else Ray's own, a nightly build
    for place in ((), ("docker",), ("available_node_types", "gpu_spot")):
        wrong = copy.deepcopy(written)
        inner = wrong
        for key in place:
            inner = inner[key]
        inner["max_wrkers"] = 3
        with pytest.raises(Exception, match="max_wrkers"):
            checked(wrong)


def test_nothing_listens_to_the_world_and_every_process_asks_for_the_token(written):
    head, worker = (written[f"{kind}_start_ray_commands"] for kind in ("head", "worker"))
    for commands in (head, worker):
        starts = [command for command in commands if "ray start" in command]
        assert len(starts) == 1
        assert "RAY_AUTH_MODE=token ray start" in starts[0]
    assert "-e RAY_AUTH_MODE=token" in written["docker"]["run_options"]
    assert "--dashboard-host=127.0.0.1" in head[-1]
    assert "security_group" not in written["provider"]  # Ray adds SSH from everywhere to what it makes of it


def test_the_head_runs_no_trials(written):
    assert written["available_node_types"]["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert "--num-cpus=0 --num-gpus=0" in written["head_start_ray_commands"][-1]


def test_what_is_edited_stands_in_one_place(written):
    text = FILE.read_text()
    assert text.count("# EDIT") == 5
    assert text.count(written["docker"]["image"]) == 1
    spot, ordinary = (written["available_node_types"][name]["node_config"] for name in WORKERS)
    assert spot == {**ordinary, "InstanceMarketOptions": {"MarketType": "spot"}}


@pytest.fixture(scope="module")
def aws(_isolated, tmp_path_factory):
    """A stand-in for AWS with what docs/how-to/cluster.md makes first, and cluster.yaml as `ray up` completes it."""
    moto = pytest.importorskip("moto", reason="moto is not installed: pip install -e '.[test]'")
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed: pip install -e '.[cluster]'")
    from ray._private.authentication.authentication_token_setup import generate_and_save_token

    # one stand-in for all tests here: Ray keeps its clients of AWS
    with pytest.MonkeyPatch.context() as patch, moto.mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        patch.delenv("AWS_ENDPOINT_URL")
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))  # for the key pair and the token
        generate_and_save_token()
        iam, ec2 = boto3.client("iam"), boto3.client("ec2")
        for name in ROLES:
            iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
            for policy in POLICIES if name == "hwcls-head" else POLICIES[:1]:  # refused where AWS's grammar is not met
                iam.put_role_policy(RoleName=name, PolicyName=f"p{len(policy)}", PolicyDocument=policy)
            iam.create_instance_profile(InstanceProfileName=name)
            iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        group = ec2.create_security_group(GroupName="hwcls", Description="hwcls")["GroupId"]
        ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": HERE}]}
        inside = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ssh, inside])
        edited = yaml.safe_load(FILE.read_text().replace("sg-EDIT", group))
        yield SimpleNamespace(iam=iam, ec2=ec2, group=group, edited=edited, config=completed(edited))


def completed(values):
    """A cluster file as `ray up` completes it: what the machines have, subnets, keys."""
    from ray.autoscaler._private.providers import _get_node_provider_cls

    provider = _get_node_provider_cls(values["provider"])
    config = provider.fillout_available_node_types_resources(checked(values))
    return provider.bootstrap_config(config)


def provider_of(config):
    from ray.autoscaler._private.providers import _get_node_provider

    return _get_node_provider(config["provider"], config["cluster_name"], use_cache=False)


def instances(ec2):
    """The machines by their node type."""
    from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE as KIND

    alive = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    found = [one for kept in ec2.describe_instances(Filters=alive)["Reservations"] for one in kept["Instances"]]
    return {tag["Value"]: one for one in found for tag in one["Tags"] if tag["Key"] == KIND}


@pytest.fixture
def started(aws):
    """A machine of each node type, ended after the test."""
    from ray.autoscaler import tags

    provider = provider_of(aws.config)
    made = []
    for name, kind in aws.config["available_node_types"].items():
        role = "head" if name == aws.config["head_node_type"] else "worker"
        labels = {
            tags.TAG_RAY_NODE_KIND: role,
            tags.TAG_RAY_USER_NODE_TYPE: name,
            tags.TAG_RAY_NODE_NAME: f"ray-{name}",
        }
        made += provider.create_node(kind["node_config"], labels, 1)
    yield instances(aws.ec2)
    provider.terminate_nodes(made)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_is_started(aws, started, capsys):
    volumes = aws.ec2.describe_volumes()["Volumes"]
    disks = {attached["InstanceId"]: one for one in volumes for attached in one["Attachments"]}
    rows = [("node type", "instance", "lifecycle", "profile", "security group", "subnet", "disk", "AMI")]
    for name, one in started.items():
        disk = disks[one["InstanceId"]]
        told = f"{disk['Size']} GB {disk['VolumeType']}{' encrypted' if disk['Encrypted'] else ''}"
        profile = one["IamInstanceProfile"]["Arn"].rpartition("/")[2]
        group = one["SecurityGroups"][0]["GroupId"]
        image = one["ImageId"].split("/")[-3]
        lifecycle = one.get("InstanceLifecycle", "on demand")
        rows.append((name, one["InstanceType"], lifecycle, profile, group, one["SubnetId"], told, image))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    with capsys.disabled():
        print("", *lines, sep="\n")

    assert set(started) == {"head", *WORKERS}
    assert {name: one.get("InstanceLifecycle") for name, one in started.items()} == {
        "head": None,
        "gpu_spot": "spot",
        "gpu_on_demand": None,
    }
    assert started["head"]["InstanceType"] == "m7i.large"
    assert {started[name]["InstanceType"] for name in WORKERS} == {"g6.2xlarge"}
    for name, one in started.items():
        assert one["IamInstanceProfile"]["Arn"].endswith("/hwcls-head" if name == "head" else "/hwcls-worker")
        assert one["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu")
        metadata = one["MetadataOptions"]
        assert (metadata["HttpTokens"], metadata["HttpPutResponseHopLimit"]) == ("required", 2)
        assert [used["GroupId"] for used in one["SecurityGroups"]] == [aws.group]
        assert disks[one["InstanceId"]]["Encrypted"]
        assert [disk["Ebs"]["DeleteOnTermination"] for disk in one["BlockDeviceMappings"]] == [True]
        marks = {tag["Key"]: tag["Value"] for tag in one["Tags"]}
        assert marks["ray-cluster-name"] == "hwcls"
        assert marks["ray-node-type"] == ("head" if name == "head" else "worker")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_only_ssh_from_one_address_comes_in(aws, capsys):
    """Ray leaves a group of one's own as it is; one that it makes itself is open to everybody's SSH."""
    (group,) = aws.ec2.describe_security_groups(GroupIds=[aws.group])["SecurityGroups"]
    outside = [rule for rule in group["IpPermissions"] if rule["IpRanges"] or rule["Ipv6Ranges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in outside] == [(22, 22)]
    assert [near["CidrIp"] for rule in outside for near in rule["IpRanges"]] == [HERE]
    inside = [pair["GroupId"] for rule in group["IpPermissions"] for pair in rule["UserIdGroupPairs"]]
    assert inside == [aws.group]
    names = {one["GroupName"] for one in aws.ec2.describe_security_groups()["SecurityGroups"]}
    assert names == {"default", "hwcls"}  # none was made beside it

    with pytest.raises(Exception):  # noqa: B017  (Ray prints it, and raises nothing of its own)
        completed(yaml.safe_load(FILE.read_text()))
    assert "Failed to detect a security group" in capsys.readouterr().err  # sg-EDIT: nothing starts before it is edited


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_trials_find_what_the_machines_have(aws):
    resources = {name: kind["resources"] for name, kind in aws.config["available_node_types"].items()}
    assert resources["head"] == {"CPU": 0, "GPU": 0}
    assert resources["gpu_spot"] == resources["gpu_on_demand"]
    assert resources["gpu_spot"].items() >= {"CPU": 8, "GPU": 1, "accelerator_type:L4": 1}.items()


class Shell:
    """Takes the place of ssh and rsync: answers what Ray asks a fresh machine, and keeps what it was told to do."""

    def __init__(self):
        self.ran = []
        self.answers = {
            "command -v docker": b"/usr/bin/docker",
            "info -f": b"map[nvidia:{nvidia-container-runtime [] <nil>} runc:{runc [] <nil>}]",
            "/proc/meminfo": b"MemAvailable:   30000000 kB",
            ".Config.Env": b'["HOME=/home/ray"]',
            "printenv HOME": b"/home/ray",
        }

    def check_output(self, command, **_):
        self.ran.append(command if isinstance(command, str) else " ".join(map(str, command)))
        return next((answer for asked, answer in self.answers.items() if asked in self.ran[-1]), b"")

    check_call = call = check_output

    def one(self, part):
        """The one command that holds `part`."""
        (found,) = [command for command in self.ran if part in command]
        return found


@pytest.fixture
def head(aws):
    """A head that runs: its id, and the provider that it starts workers by."""
    from ray.autoscaler import tags

    provider = provider_of(aws.config)
    labels = {tags.TAG_RAY_NODE_KIND: tags.NODE_KIND_HEAD, tags.TAG_RAY_USER_NODE_TYPE: "head"}
    (name,) = provider.create_node(aws.config["available_node_types"]["head"]["node_config"], labels, 1)
    yield SimpleNamespace(id=name, provider=provider)
    provider.terminate_nodes(provider.non_terminated_nodes({}))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_ray_up_does_on_the_head(aws):
    from ray.autoscaler._private import commands

    shell, provider = Shell(), provider_of(aws.config)
    commands.get_or_create_head_node(
        copy.deepcopy(aws.config), str(FILE), False, False, True, None, _provider=provider, _runner=shell
    )
    provider.terminate_nodes(provider.non_terminated_nodes({}))
    run = shell.one("docker run")
    assert "-e RAY_AUTH_MODE=token" in run
    assert "-v /var/lib/hwcls:/cache -e HWCLS_CACHE=/cache" in run
    assert ".ray/auth_token:/home/ray/.ray/auth_token" in run
    assert "--gpus" not in run
    assert aws.edited["docker"]["image"] in run
    assert shell.one("/.ray/auth_token ubuntu@").startswith("rsync")
    start = shell.one("ray start")
    assert "RAY_AUTH_MODE=token ray start --head" in start
    assert "RAY_enable_autoscaler_v2=1" in start
    assert "RAY_OVERRIDE_RESOURCES=" in start
    assert '{"CPU":0,"GPU":0}' in start
    assert shell.one("/opt/dlami/nvme")
    assert not [command for command in shell.ran if "pip install" in command]
    assert "HOME=/home/ray" in (ROOT / "Dockerfile").read_text()  # else the token is mounted where nobody looks


class Autoscaler:
    """Ray's autoscaler, version 2, as it runs on the head while a trial waits for a GPU."""

    def __init__(self, aws, head):
        from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
        from ray.autoscaler.v2.instance_manager.instance_manager import InstanceManager
        from ray.autoscaler.v2.instance_manager.instance_storage import InstanceStorage
        from ray.autoscaler.v2.instance_manager.node_provider import NodeProviderAdapter
        from ray.autoscaler.v2.instance_manager.storage import InMemoryStorage
        from ray.autoscaler.v2.instance_manager.subscribers.cloud_instance_updater import CloudInstanceUpdater
        from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import CloudResourceMonitor
        from ray.autoscaler.v2.scheduler import ResourceDemandScheduler
        from ray.autoscaler.v2.utils import ResourceRequestUtil
        from ray.core.generated.autoscaler_pb2 import ClusterResourceState, ResourceRequestByCount

        self.ec2, self.config, self.head = aws.ec2, AutoscalingConfig(copy.deepcopy(aws.config)), head
        reader = SimpleNamespace(
            get_cached_autoscaling_config=lambda: self.config, refresh_cached_autoscaling_config=lambda: None
        )
        self.cloud = NodeProviderAdapter(head.provider, reader)
        self.monitor = CloudResourceMonitor()
        self.instances = InstanceManager(
            InstanceStorage("test", InMemoryStorage()),
            [CloudInstanceUpdater(cloud_provider=self.cloud), self.monitor],
        )
        self.scheduler = ResourceDemandScheduler()
        demand = ResourceRequestUtil.make({"CPU": 1.0, "GPU": 1.0})
        self.seen = ClusterResourceState(pending_resource_requests=[ResourceRequestByCount(request=demand, count=1)])
        self.step()

    def until(self, wanted):
        """Rounds until there are machines of just these types, and one more."""
        for _ in range(100):
            self.step()
            if set(instances(self.ec2)) == wanted:
                break
            time.sleep(0.05)
        self.step()
        assert set(instances(self.ec2)) == wanted

    def step(self):
        from ray.autoscaler.v2.instance_manager.reconciler import Reconciler
        from ray.core.generated.autoscaler_pb2 import NodeState, NodeStatus

        self.seen.cluster_resource_state_version += 1
        Reconciler.reconcile(
            self.instances,
            self.scheduler,
            self.cloud,
            self.monitor,
            self.seen,
            self.cloud.get_non_terminated(),
            self.config,
            cloud_provider_errors=self.cloud.poll_errors(),
        )
        if not self.seen.node_states:  # from the second round on the head is up
            head = {"node_id": b"1" * 28, "instance_id": self.head.id, "ray_node_type_name": "head"}
            self.seen.node_states.append(NodeState(**head, status=NodeStatus.RUNNING, node_state_version=1))


def refusing(provider, monkeypatch, refused):
    """AWS has no spot machines while `refused["spot"]`; the list tells how each request ended."""
    import botocore.exceptions

    asked, client = [], provider.ec2_fail_fast

    def create_instances(**wanted):
        spot = "InstanceMarketOptions" in wanted
        asked.append("spot" if spot else "on demand")
        if spot and refused["spot"]:
            error = {"Error": {"Code": "InsufficientInstanceCapacity", "Message": "no spot capacity"}}
            raise botocore.exceptions.ClientError(error, "RunInstances")
        return client.create_instances(**wanted)

    monkeypatch.setattr(provider, "ec2_fail_fast", SimpleNamespace(create_instances=create_instances))
    return asked


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_spot_comes_first(aws, head, monkeypatch):
    asked = refusing(head.provider, monkeypatch, {"spot": False})
    scaler = Autoscaler(aws, head)
    scaler.until({"head", "gpu_spot"})
    assert asked == ["spot"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_where_aws_has_no_spot_machine_one_on_demand_comes(aws, head, monkeypatch):
    """Ray by itself, with `type: aws`, asks for spot again and again."""
    from ray.autoscaler.v2.instance_manager.ray_installer import RayInstaller
    from ray.core.generated.instance_manager_pb2 import Instance

    called = set()
    for resource in (head.provider.ec2, head.provider.ec2_fail_fast):
        resource.meta.client.meta.events.register("before-call.ec2", lambda model, **_: called.add(f"ec2:{model.name}"))
    asked = refusing(head.provider, monkeypatch, {"spot": True})
    scaler = Autoscaler(aws, head)
    scaler.until({"head", "gpu_on_demand"})
    assert asked == ["spot"] * (len(asked) - 1) + ["on demand"]  # a spot machine in each zone, then the other

    # what the head does on it
    shell, name = Shell(), instances(aws.ec2)["gpu_on_demand"]["InstanceId"]
    worker = Instance(instance_id="1", cloud_instance_id=name, instance_type="gpu_on_demand")
    RayInstaller(head.provider, scaler.config, process_runner=shell).install_ray(worker, "10.0.0.1")
    run = shell.one("docker run")
    assert "--gpus all" in run
    assert "-e RAY_AUTH_MODE=token" in run
    assert "-v /var/lib/hwcls:/cache -e HWCLS_CACHE=/cache" in run
    start = shell.one("ray start")
    assert "export RAY_HEAD_IP=10.0.0.1" in start
    assert "RAY_AUTH_MODE=token ray start --address=$RAY_HEAD_IP:6379" in start
    assert not [command for command in shell.ran if "WANDB" in command or "netrc" in command]

    # what the head may do, and what it does
    head.provider.terminate_nodes([name])
    allowed = {"ec2:" + word for word in re.findall(r"ec2:(\w+)\"", POLICIES[1])}
    assert called == allowed
    for policy in POLICIES:
        assert {one["Effect"] for one in json.loads(policy)["Statement"]} == {"Allow"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_spot_is_tried_again_later(aws, head, monkeypatch):
    from ray.autoscaler._private.constants import RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S

    refused = {"spot": True}
    asked = refusing(head.provider, monkeypatch, refused)
    scaler = Autoscaler(aws, head)
    scaler.until({"head", "gpu_on_demand"})
    refused["spot"] = False
    head.provider.terminate_nodes([instances(aws.ec2)["gpu_on_demand"]["InstanceId"]])
    scaler.monitor._last_unavailable_timestamp["gpu_spot"] -= RAY_AUTOSCALER_AVAILABILITY_RECOVERY_S
    scaler.until({"head", "gpu_spot"})
    assert asked[-1] == "spot"
