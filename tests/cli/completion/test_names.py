"""Names that are completed without importing what they are of."""

from hwcls.cli.completion.names import list_backbones


def test_the_backbones_are_those_of_timm():
    """They are read from its source; written for timm 1.0."""
    import timm

    assert list_backbones() == sorted(timm.list_models())


def test_without_timm_there_are_none(monkeypatch):
    monkeypatch.setattr("hwcls.cli.completion.names.find_spec", lambda name: None)
    assert list_backbones() == []
