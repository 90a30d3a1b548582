"""The pretrained weights that the nodes of a cluster must have."""

from hwcls.config.sweep_file import load_sweep
from hwcls.sweep.storage.weights import needed_weights


def test_each_file_of_weights_is_needed_once(sweep_file, tmp_path):
    (path := tmp_path / "mine.safetensors").write_bytes(b"mine")
    timm = {"name": "timm", "backbone": "resnet18"}
    own = {**timm, "pretrained": str(path), "head": {"dropout": {"min": 0.0, "max": 0.5}}}
    sweep = load_sweep(sweep_file(parameters={"model": {"choice": {"none": timm, "own": own}}}))
    ((found, digest),) = needed_weights(sweep.corners)
    assert (found.kind, found.place, digest) == ("file", str(path), found.digest)
