"""From trial to trial a rank keeps what it has loaded."""

from hwcls.config.space import Fixed
from hwcls.data.imageset import open_data
from hwcls.sweep.run.worker import Rank


def test_the_next_trial_finds_the_images_where_the_last_one_left_them(tiny, tmp_path, monkeypatch):
    """The splits are the same objects: what was uploaded of them to a GPU belongs to them and stays there."""
    opened = []

    def counted(config, *more):
        opened.append(config)
        return open_data(config, *more)

    monkeypatch.setattr("hwcls.data.imageset.open_data", counted)
    sweep = tiny()
    rank = Rank(0, 1, 1, False, str(tmp_path / "stacks"))
    try:
        rank.join("", 60.0)
        seen = []
        for model, batch in (("mlp", 64), ("cnn", 32)):
            trial = sweep.trial(Fixed({"model": model}))
            trial = trial.model_copy(update={"data": trial.data.model_copy(update={"batch_size": batch})})
            phases = rank.prepare(trial, {})
            rank.build(trial, None, 60.0)
            seen.append(rank.trainer.data.train)
            assert rank.epoch().record["epoch"] == 1
        assert seen[0] is seen[1]
        assert len(opened) == 1
        assert phases["data"] < 0.3
    finally:
        rank.stacks.close()
