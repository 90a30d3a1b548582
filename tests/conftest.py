"""For every test: a temporary cache and home, no W&B account, one torch thread, and one shared Ray."""

import atexit
import gc
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path

import pytest

CLUSTERS = "tests/sweep/cluster/"
IDX_FILES = {  # of MNIST and Fashion-MNIST: the bytes of the header, and how many images or labels sweeps get
    "train-images-idx3-ubyte": (16, 4000),
    "train-labels-idx1-ubyte": (8, 4000),
    "t10k-images-idx3-ubyte": (16, 500),
    "t10k-labels-idx1-ubyte": (8, 500),
}
RAY_VARIABLES = ("RAY_ADDRESS", "RAY_AUTH_MODE")  # they concern the cluster of whoever runs the tests

# before any import of hwcls.sweep, which looks for that person's Ray token in this folder
os.environ["HOME"] = tempfile.mkdtemp(prefix="home-")
atexit.register(shutil.rmtree, os.environ["HOME"], ignore_errors=True)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # `pytest &`: what tests start would ignore their Ctrl-C, too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """Leave the modules and tests out of garbage collection, which would go through them again and again."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `--dist loadfile` all clusters of several nodes are one worker's: two at once on a machine starve Ray."""
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return CLUSTERS if nodeid.startswith(CLUSTERS) else super()._split_scope(nodeid)

    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def _isolated(tmp_path_factory):
    root = tmp_path_factory.mktemp("isolated")
    kept = dict(os.environ)
    os.environ["HWCLS_CACHE"] = str(root / "cache")
    os.environ["HOME"] = str(root / "home")  # Ray and W&B write into it
    (root / "home").mkdir()
    for name in [name for name in os.environ if name.startswith("WANDB_") or name in RAY_VARIABLES]:
        del os.environ[name]
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["HWCLS_TRUSTED_CODE"] = "all"  # what tests write is trusted, but where they say otherwise
    # no test reaches AWS; Ray's workers also find the S3 server that a test starts
    os.environ |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{probe.getsockname()[1]}"
    yield
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; the test is skipped where HWCLS_DATA does not name one."""
    folder = os.environ.get("HWCLS_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("HWCLS_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture(scope="session")
def small_data(real_data, tmp_path_factory) -> Path:
    """The real data sets, of MNIST and Fashion-MNIST only the first 4,000 training and 500 test images."""
    folder = tmp_path_factory.mktemp("small_data")
    for path in real_data.iterdir():
        if not all((path / "raw" / name).is_file() for name in IDX_FILES):
            (folder / path.name).symlink_to(path.resolve())
            continue
        (folder / path.name / "raw").mkdir(parents=True)
        for name, (header, most) in IDX_FILES.items():
            content = (path / "raw" / name).read_bytes()
            count = int.from_bytes(content[4:8], "big")
            size, few = (len(content) - header) // count, min(count, most)  # bytes of an image or a label
            small = content[:4] + few.to_bytes(4, "big") + content[8 : header + few * size]
            (folder / path.name / "raw" / name).write_bytes(small)
    return folder


@pytest.fixture(scope="session")
def ray_here(_isolated, request):
    """One local Ray with two CPUs for all in-process sweeps; its workers have `small_data`, where it can be made."""
    from hwcls.sweep.cluster.connect import local_ray

    change = pytest.MonkeyPatch()
    if Path(os.environ.get("HWCLS_DATA") or "/nowhere").is_dir():
        change.setenv("HWCLS_DATA", str(request.getfixturevalue("small_data")))
    with local_ray(2):
        change.undo()
        yield


def pytest_terminal_summary(terminalreporter):
    """Print the cost of each injected fault."""
    found = [row for report in terminalreporter.stats.get("passed", []) for row in report.user_properties]
    rows = [values for name, values in found if name == "fault"]
    if rows:
        terminalreporter.section("faults")
        width = max(len(row[0]) for row in rows)
        terminalreporter.write_line(f"{'fault':{width}}  {'cost':44}  until it resumes")
        for fault, lost, recovered in rows:
            terminalreporter.write_line(f"{fault:{width}}  {lost:44}  {recovered}")
