"""Which folders count as a trial's checkpoints, which are deleted when they are old."""

from hwcls import files
from hwcls.tracking.folders import SweepFolder


def test_a_folder_outside_of_the_sweep_is_no_checkpoint(tmp_path):
    own, other = tmp_path / "results/mine/tune/t/checkpoint_1", tmp_path / "photos"
    for folder in (own, other):
        folder.mkdir(parents=True)
    sweep = SweepFolder(tmp_path / "results/mine")
    (sweep.path / "link").symlink_to(other.parent)
    files.write_text(sweep.path / "sweep.yaml", "name: mine\n")
    runs = [sweep.trial(0), sweep.confirm_run("best", 7)]
    for run in runs:
        names = [str(other), "../" * (len(run.path.relative_to(tmp_path).parts)) + "photos", str(own)]
        names += [str(sweep.path / "link/photos"), str(sweep.path), str(sweep.path.parent)]
        files.write_json(run.path / "checkpoint.json", names)
        assert run.checkpoints() == [str(own)]
    runs[0].delete_checkpoints()
    assert (own.exists(), other.exists(), sweep.path.exists()) == (False, True, True)
