"""What `hwcls predict` is given: files, folders, archives, patterns, names on standard input, URLs of files."""

import io
import os
import re
import tarfile
import zipfile

import pytest
from PIL import Image

from hwcls.errors import UserError
from hwcls.inspection.image_sources import find_images


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A folder with images two deep, and another file; the current folder holds it."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.jpg", "cats/c.png", "cats/d [1].png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), len(name)).save(path)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


def names(*arguments, stdin=b""):
    return [image.name for image in find_images(arguments, io.BytesIO(stdin)).images]


def refused(*arguments, stdin=b""):
    with pytest.raises(UserError) as caught:
        find_images(arguments, io.BytesIO(stdin))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_order_is_kept_and_each_image_comes_once(photos):
    assert names("photos/b.png", "photos", "./photos/b.png", f"file://{photos}/a.jpg") == [
        "photos/b.png",
        "photos/a.jpg",
        "photos/cats/c.png",
        "photos/cats/d [1].png",
    ]


@pytest.mark.skipif(os.name == "nt", reason="names are not bytes there")
def test_a_name_that_is_not_utf8_is_an_image_as_any_other(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    (folder / os.fsdecode(b"\xff.png")).write_bytes(b"b")
    found = find_images([str(folder)])
    assert [source.read() for source in found.images] == [b"a", b"b"]
    assert not found.left_out


def test_patterns(photos):
    assert names("photos/*") == ["photos/a.jpg", "photos/b.png"]
    assert names("photos/**/*.png") == ["photos/b.png", "photos/cats/c.png", "photos/cats/d [1].png"]
    assert names("photos/cats/d [1].png") == ["photos/cats/d [1].png"], "a file that exists is no pattern"
    (left,) = find_images(["photos/*"]).left_out.items()
    assert left[0] == "photos/notes.txt"
    assert refused("photos/*.gif") == "'photos/*.gif': matches no file"
    assert "matches no image, but left out: files that are no images by their ending (.txt)" in refused("photos/n*")
    assert refused("phot*") == "'phot*': matches folders alone, such as photos — for the images in them: 'phot*/*'"


def test_archives(photos):
    with zipfile.ZipFile("p.zip", "w") as archive, tarfile.open("p.tar.gz", "w:gz") as tar:
        for name in ("b.png", "cats/c.png", "notes.txt"):
            archive.write(photos / name, name)
            tar.add(photos / name, name)
    for place in ("p.zip", "p.tar.gz"):
        found = find_images([place])
        assert [image.name for image in found.images] == [f"{place}/b.png", f"{place}/cats/c.png"]
        assert found.images[1].read() == (photos / "cats" / "c.png").read_bytes()
        assert found.images[1].size() == (photos / "cats" / "c.png").stat().st_size
        assert list(found.left_out) == [f"{place}/notes.txt"]
    with zipfile.ZipFile("none.zip", "w") as archive:
        archive.write(photos / "notes.txt", "notes.txt")
    assert "none.zip: no image in this archive, but left out" in refused("none.zip")


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\0"])
def test_names_on_standard_input(photos, ending):
    given = ending.join([b"photos/b.png", b"gone.png", b"photos/cats", b"photos/b.png", b""])
    found = find_images(["-"], io.BytesIO(b"\xef\xbb\xbf" + given)).images
    assert [image.name for image in found] == ["photos/b.png", "gone.png", "photos/cats/c.png", "photos/cats/d [1].png"]
    with pytest.raises(FileNotFoundError):
        found[1].read()


def test_names_on_standard_input_are_not_patterns(photos):
    assert names("-", stdin=b"photos/*.png\nphotos/cats/d [1].png") == ["photos/*.png", "photos/cats/d [1].png"]


def test_standard_input_without_names(photos):
    assert refused("-", stdin=b" \n") == (
        "standard input: names no image — for example: find photos -name '*.jpg' | hwcls ... -"
    )
    assert "standard input: holds an image" in refused("-", stdin=(photos / "b.png").read_bytes())
    os.mkfifo("pipe.png")
    assert refused("-", stdin=b"pipe.png").startswith("standard input: no image, but left out: pipes")


def test_urls(photos):
    found = find_images(["https://me:pw@host/a.jpg?id=1&api_key=s3cret", "http://[broken/a.jpg"]).images
    assert [image.name for image in found] == ["https://host/a.jpg?id=1&api_key=***", "http://[broken/a.jpg"]
    assert all(image.is_remote for image in found)
    assert re.match(r"s3://bucket/a\.jpg\?token=\*\*\*: s3:// is not read", refused("s3://bucket/a.jpg?token=1"))
    assert refused("file://me:pw@host/a.jpg").startswith("file://host/a.jpg: names a file of another machine")
    assert names(f"file://localhost{photos}/cats/d%20%5B1%5D.png") == [f"{photos}/cats/d [1].png"]
    assert "no such file" in refused(f"file://{photos}/gone.png")
