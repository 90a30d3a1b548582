"""Getting raw data: by download with mirrors, resume and checksum, or from what the user has."""

from __future__ import annotations

import hashlib
import os
import shutil
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock

from hwcls import files
from hwcls.data.catalog import EMBEDDED, Download, Progress, Source, cache_folder, locate, raw_folders, source_of
from hwcls.errors import UserError

TIMEOUT = 10.0  # seconds without a byte
TRIES = 3  # per mirror; a cut connection goes on where it was
BLOCK = 1 << 18


def fetch(name: str, progress: Progress | None = None) -> Path | None:
    """Download a data set unless it is here; returns where it lies, None for an embedded one.

    Raises:
        UserError: No mirror gave it; the message says where to put it by hand.
    """
    source = source_of(name)
    if name in EMBEDDED or (place := locate(name)):
        return None if name in EMBEDDED else place
    if not source.downloads:
        raise UserError(f"{name} cannot be downloaded", remedy=source.what)
    folder = cache_folder() / "raw" / name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{name}.lock")):
        for download in source.downloads:
            if not (folder / download.name).is_file():
                _download(name, source, download, folder / download.name, progress or (lambda _: None))
    return locate(name)


def import_data(name: str, path: Path | str) -> Path:
    """Copy an archive or a folder that the user has into hwcls's raw folder, whole or not at all.

    Args:
        path: The data set itself, or a folder in which it lies as in a raw folder.

    Raises:
        UserError: It is not that data set, not whole, or something is already there.
    """
    source, path = source_of(name), Path(path).expanduser()
    if not source.places:
        raise UserError(f"{name} needs no import", remedy=source.what)
    if not path.exists():
        raise UserError("no such file or folder", where=str(path))
    inside = [found for place in source.places for found in sorted(path.glob(place))] if path.is_dir() else []
    here = next((place for place in (path, *inside) if source.fits(place)), None)
    if here is None:
        raise UserError(f"this is not {name}", where=str(path), remedy=f"expected one of: {', '.join(source.places)}")
    source.read(here)  # raises when it is not whole
    folder = cache_folder() / "raw" / name
    target = folder if name in source.places and here.is_dir() else folder / here.name
    if target.exists():
        raise UserError(f"{name} has been imported before", where=str(target), remedy="remove that first")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if here.is_dir():
            shutil.copytree(here, temporary)
        else:
            shutil.copy2(here, temporary)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if temporary.is_file():
            temporary.unlink()
    files.sync_folder(target.parent)
    return target


def _download(name: str, source: Source, download: Download, target: Path, progress: Progress) -> None:
    part = target.with_name(target.name + ".part")
    problems = []
    for url in download.urls:
        for _ in range(TRIES):
            try:
                _continue(url, part, lambda text: progress(f"{download.name}: {text}"))
            except (OSError, HTTPException, ValueError) as error:
                problems.append(f"{url}: {error}")
                if not isinstance(error, ConnectionResetError):  # only a cut connection is worth another try
                    break
            else:
                if _md5(part) == download.md5:
                    os.replace(part, target)
                    files.sync_folder(target.parent)
                    return
                part.unlink()
                problems.append(f"{url}: wrong checksum")
                break
    places = " or ".join(str(folder / source.places[0]) for folder in raw_folders())
    raise UserError(
        f"data set {name} is not here and could not be downloaded ({problems[-1]})",
        remedy=f"put it at {places}, or run: hwcls data import {name} PATH",
    )


def _continue(url: str, part: Path, progress: Progress) -> None:
    """Append what `part` still lacks; ConnectionResetError when the connection ends early."""
    have = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"User-Agent": "hwcls"} | ({"Range": f"bytes={have}-"} if have else {}))
    try:
        answer = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code == 416:  # nothing after `have`: it is whole, or not ours; the checksum tells
            error.close()
            return
        raise
    with answer:
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0  # the server ignores ranges: from the start
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else 0
        with open(part, "ab" if have else "wb") as file:
            tenth = 0
            while block := answer.read(BLOCK):
                file.write(block)
                have += len(block)
                if total and have * 10 // total > tenth:
                    tenth = have * 10 // total
                    progress(f"{100 * have // total} % of {total / 1e6:.1f} MB")
            file.flush()
            os.fsync(file.fileno())
    if have < total:
        raise ConnectionResetError(f"the connection ended after {have:,} of {total:,} bytes")


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
