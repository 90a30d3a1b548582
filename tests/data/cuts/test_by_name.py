"""Held-out parts by the names of the images: near the share, stable, and what belongs together on one side."""

from __future__ import annotations

import numpy as np
import pytest

from hwcls.data.cuts.by_name import hash_names, hold_out, join_groups

CLASSES = ("cat", "dog", "emu")
COUNTS = (400, 100, 9)


def names_of(counts: tuple[int, ...]) -> tuple[list[str], np.ndarray]:
    found = [(f"{name}/{i:04d}.jpg", k) for k, name in enumerate(CLASSES) for i in range(counts[k])]
    return [name for name, _ in found], np.array([label for _, label in found])


def cut(names: list[str], labels: np.ndarray, together: np.ndarray | None = None, share: float = 0.2) -> np.ndarray:
    dither = hash_names(CLASSES, 0, "test") / 2.0**64
    together = np.arange(len(names)) if together is None else together
    return hold_out(hash_names(names, 0, "test"), labels, dither, together, share)


def per_class(labels: np.ndarray, out: np.ndarray) -> list[int]:
    return np.bincount(labels[out], minlength=3).tolist()


def test_hashes_never_change() -> None:
    assert hash_names(["a.jpg", "b.jpg"], 0, "test").tolist() == [2535363141496882395, 6715118626149279160]
    assert hash_names(["e\u0301"], 1) == hash_names(["\u00e9"], 1)  # macOS writes é as two letters
    assert hash_names(["a.jpg"], 1, "test") != hash_names(["a.jpg"], 0, "test")


def test_every_class_gives_its_share() -> None:
    names, labels = names_of(COUNTS)
    assert per_class(labels, cut(names, labels)) == [80, 20, 2]
    assert per_class(labels, cut(names, labels, share=0.001)) == [1, 1, 1]
    assert per_class(labels, cut(names, labels, share=0.999)) == [399, 99, 8]
    many = np.repeat(np.arange(500), 8)  # 1.6 of each
    dither = hash_names([str(k) for k in range(500)], 0) / 2.0**64
    out = hold_out(hash_names([str(i) for i in range(4000)], 0), many, dither, np.arange(4000), 0.2)
    assert set(np.bincount(many[out])) == {1, 2}
    assert out.mean() == pytest.approx(0.2, abs=0.01)


def test_a_class_keeps_a_training_image() -> None:
    labels = np.array([0, 1, 1, 2, 2, 2])
    out = cut(list("abcdef"), labels, share=0.9)
    assert per_class(labels, out) == [0, 1, 2]
    assert not cut(list("abc"), np.arange(3)).any()


def test_the_order_of_the_images_does_not_matter() -> None:
    names, labels = names_of(COUNTS)
    mixed = np.random.default_rng(0).permutation(len(names))
    out = cut([names[i] for i in mixed], labels[mixed])
    assert {names[i] for i in mixed[out]} == {names[i] for i in np.flatnonzero(cut(names, labels))}


def test_a_new_image_moves_one_other_of_its_class_at_most() -> None:
    names, labels = names_of(COUNTS)
    before = {names[i] for i in np.flatnonzero(cut(names, labels))}
    moved = []
    for i in range(40):
        name = f"dog/new{i}.jpg"
        out = cut([*names, name], np.append(labels, 1))
        after = {[*names, name][j] for j in np.flatnonzero(out)} - {name}
        moved.append(sorted(before ^ after))
    assert {len(found) for found in moved} == {0, 1}
    assert all(name.startswith("dog/") for found in moved for name in found)


def test_what_belongs_together_stays_together() -> None:
    names, labels = names_of(COUNTS)
    random = np.random.default_rng(1)
    for size in (2, 7, 25):  # groups of one class and of several
        together = random.permutation(len(names)) // size if size == 7 else np.arange(len(names)) // size
        out = cut(names, labels, together)
        assert len(set(together[out]) & set(together[~out])) == 0
        assert out.mean() == pytest.approx(0.2, abs=0.02)
        assert (np.bincount(labels[~out], minlength=3) > 0).all()
    assert per_class(labels, cut(names, labels, np.arange(len(names)) // 25))[:2] == [75, 25]


def test_groups_and_images_by_themselves_give_their_share_alike() -> None:
    labels = np.zeros(1000, np.int64)
    together = np.where(np.arange(1000) < 500, np.arange(1000) // 5, np.arange(1000))
    out = cut([str(i) for i in range(1000)], labels, together)
    assert out.sum() == 200
    assert out[:500].sum() == 100


def test_a_class_of_two_large_groups_has_one_of_them_held_out() -> None:
    labels = np.repeat([0, 1], [100, 100])
    together = np.concatenate([np.repeat([0, 1], [40, 60]), np.arange(2, 102)])
    out = cut([str(i) for i in range(200)], labels, together)
    assert np.flatnonzero(out[:100]).tolist() == list(range(40))
    assert out[100:].sum() == 20


def test_one_giant_group_stays_in_train() -> None:
    names, labels = names_of(COUNTS)
    together = np.where(np.arange(len(names)) % 10 > 0, 0, np.arange(len(names)))
    out = cut(names, labels, together)
    assert not out[together == 0].any()
    assert per_class(labels, out) == [39, 10, 1]  # all of the others
    assert not cut(names, labels, np.zeros(len(names), np.int64)).any()


def test_memberships_join_through_each_other() -> None:
    groups, copies = np.array([0, 0, 1, 1, 2, 3]), np.array([7, 8, 8, 9, 5, 5])
    assert join_groups(groups, copies).tolist() == [0, 0, 0, 0, 1, 1]
    chain = np.arange(10_000)
    assert set(join_groups(chain // 2, (chain + 1) // 2)) == {0}
