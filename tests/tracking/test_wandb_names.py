"""The names that W&B gets from hwcls, against W&B's own rules."""

import pytest

from hwcls.config.sweep import check_project


def refused(check, *arguments):
    try:
        check(*arguments)
    except Exception:
        return True
    return False


@pytest.mark.parametrize(
    "name", [*(f"a{chr(code)}b" for code in (*range(32, 127), 10, 13)), "é", "a" * 128, "a" * 129, ""]
)
def test_projects_are_refused_as_wandb_refuses_them(name):
    import wandb
    from wandb.sdk.artifacts._validators import validate_project_name  # of wandb 0.31

    own = refused(check_project, name)
    assert own == refused(validate_project_name, name)
    if name and "\n" not in name and "\r" not in name:  # which settings let pass
        assert own == refused(lambda: wandb.Settings(project=name))


def test_the_error_of_a_project_names_the_characters():
    with pytest.raises(ValueError, match=r"W&B refuses 'team/proj' because of '/' — .* takes none of / .*WANDB_ENTITY"):
        check_project("team/proj")
    with pytest.raises(ValueError, match="of 0 characters — write 1 to 128"):
        check_project(" ")


def test_names_of_artifacts_are_short_and_differ():
    from wandb.sdk.artifacts._validators import validate_artifact_name

    from hwcls.tracking.wandb.run import artifact_name

    assert artifact_name("quickstart", "trials/7") == "quickstart-trials-7"
    sweep, label = "s" * 100, "l" * 64
    names = {artifact_name(sweep, f"confirm/{label}/{seed}") for seed in (10001000, 10001001)}
    assert len(names) == 2
    for name in names:
        assert validate_artifact_name(name) == name
