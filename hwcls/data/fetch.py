"""Downloads: several mirrors, resumed after an interruption, checked against a checksum."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock

from hwcls import files
from hwcls.data import disk
from hwcls.data.catalog import DataSetSpec, Download, cache_folder, find_data_set, locate, raw_folders
from hwcls.data.progress import ProgressMeter, ProgressReporter
from hwcls.errors import UserError

TIMEOUT = 10.0  # seconds without a byte
TRIES = 5  # per mirror, as long as each makes progress; an interrupted download is resumed
BLOCK = 1 << 18


def fetch_data_set(name: str, report: ProgressReporter | None = None) -> Path | None:
    """Download a data set unless it is here; returns its path, None for an embedded one.

    Raises:
        UserError: No mirror has it (the message says where to put it by hand), or it does not fit on the disk.
    """
    spec = find_data_set(name, where="")
    if spec.embedded or (place := locate(name)):
        return None if spec.embedded else place
    if not spec.downloads:
        remedy = "it is read at `data.path`; or give it a name: hwcls data import NAME PATH"
        raise UserError(f"{name} cannot be downloaded", remedy=remedy)
    folder = cache_folder() / "raw" / name
    disk.make_cache_folder(folder.parent)
    with FileLock(folder.with_name(f".{name}.lock")):
        folder.mkdir(exist_ok=True)
        try:
            for download in spec.downloads:
                if not (folder / download.name).is_file():
                    _download(name, spec, download, folder / download.name, report or (lambda _: None))
        finally:
            with suppress(OSError):
                folder.rmdir()  # only if it is empty
    return locate(name)


def _download(name: str, spec: DataSetSpec, download: Download, target: Path, report: ProgressReporter) -> None:
    part = target.with_name(target.name + ".part")
    problems = []
    for url in download.urls:
        for _ in range(TRIES):
            before = _size(part)
            try:
                _resume_download(url, part, report)
            except (OSError, HTTPException, ValueError) as error:
                if disk.is_disk_full(error):
                    raise disk.disk_full_error(part.parent) from None
                problems.append(f"{url}: {error.reason if type(error) is URLError else error}")
                if _size(part) == before:
                    break
                continue
            if _md5(part) == download.md5:
                os.replace(part, target)
                files.sync_folder(target.parent)
                return
            part.unlink()
            problems.append(f"{url}: wrong checksum")
            if not before:  # else the part from before may have been wrong
                break
    places = " or ".join(str(folder / spec.places[0]) for folder in raw_folders())
    raise UserError(
        f"data set {name} is not here and could not be downloaded ({'; '.join(dict.fromkeys(problems))})",
        remedy=f"put it at {places}, or run: hwcls data import {name} PATH",
    )


def _resume_download(url: str, part: Path, report: ProgressReporter) -> None:
    """Append the rest of `part`; ConnectionResetError when the connection ends early."""
    have = _size(part)
    request = Request(url, headers={"User-Agent": "hwcls"} | ({"Range": f"bytes={have}-"} if have else {}))
    try:
        answer = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # nothing after `have`: complete, or another file; the checksum decides
            return
        raise
    with answer:
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0  # the server ignores ranges: from the start
        length = int(answer.headers.get("Content-Length") or 0)
        total = have + length if length else 0
        disk.check_free_space(part.parent, length)
        meter = ProgressMeter(report, part.stem, total, "MB", 1e6)
        with open(part, "ab" if have else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                have += len(block)
                meter.update(have)
            file.flush()
            os.fsync(file.fileno())
    if have < total:
        raise ConnectionResetError(f"the connection ended after {have:,} of {total:,} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
