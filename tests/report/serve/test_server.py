"""The server: what it serves, and that it serves nothing else to anyone else."""

from __future__ import annotations

import os
import re
import socket
import struct
from urllib.parse import quote

import pytest
import yaml

from hwcls import files
from hwcls.errors import UserError
from hwcls.report.serve.listen import HOST, address, listen, listen_on_any


def test_the_list_and_a_page(server):
    shown = server.ask("/")
    assert (shown.status, shown.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert '<a href="/sweeps/tiny">tiny</a>' in shown.body
    assert "ahead of resnet 0.72" in server.ask("/sweeps?again").body
    page = server.ask("/sweeps/tiny")
    assert page.status == 200
    assert "<h1>tiny</h1>" in page.body
    assert server.ask("/favicon.ico").status == 204


def test_nothing_is_written_to_the_folder(server, folder):
    def listed():
        return {path: os.stat(path).st_mtime_ns for path in [folder, *folder.rglob("*")]}

    before = listed()
    for path in ("/", "/sweeps", "/sweeps/tiny"):
        assert server.ask(path).status == 200
    assert listed() == before


@pytest.mark.parametrize("path", ["/", "/sweeps/tiny", "/nowhere"])
def test_head_is_get_without_the_body(server, path):
    answers = [server.ask(path, method) for method in ("GET", "HEAD")]
    for one in answers:
        del one.headers["Date"]
    assert answers[0].status == answers[1].status
    assert answers[0].headers.items() == answers[1].headers.items()
    assert len(answers[0].body.encode()) == int(answers[0].headers["Content-Length"])
    assert answers[1].body == ""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_it_is_read_only(server, method):
    refused = server.ask("/", method)
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "path",
    [
        "/sweeps/../secret",
        "/sweeps/..",
        "/sweeps/.",
        "/sweeps/",
        "/sweeps/%2e%2e%2fsecret",
        "/sweeps/..%2fsecret%2fkey.txt",
        "/sweeps/tiny/sweep.yaml",
        "/sweeps/tiny%2fsweep.yaml",
        "/sweeps/tiny/../tiny",
        "/sweeps/tiny%00",
        "/sweeps/%ff%fe",
        "//etc/passwd",
        "/results/tiny/report.html",
        "http://127.0.0.1/sweeps/tiny",
    ],
)
def test_only_names_of_sweeps_are_paths(server, folder, path):
    (folder.parent / "secret").mkdir()
    (folder.parent / "secret" / "key.txt").write_text("key")
    (folder.parent / "secret" / "sweep.yaml").write_text("name: secret")
    assert server.ask(path).status == 404
    assert server.ask(f"/sweeps/{quote(str(folder / 'tiny'), safe='')}").status == 404


def test_links_that_lead_out_of_the_folder_are_not_followed(server, folder, results):
    results.sweep(folder.parent / "elsewhere")
    (folder / "link").symlink_to(folder.parent / "elsewhere")
    (folder / "alias").symlink_to(folder / "tiny")
    assert {row.summary.name for row in server.library.list_sweeps()} == {"tiny", "alias"}
    assert server.ask("/sweeps/link").status == 404
    (folder.parent / "key.html").write_text("key")
    (folder / "tiny" / "report.html").symlink_to(folder.parent / "key.html")
    assert "<h1>tiny</h1>" in server.ask("/sweeps/tiny").body


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:9000", 200),  # a tunnel's
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8010", 421),
        ("localhost:80@evil.example", 421),
        ("", 421),
        (None, 421),
    ],
)
def test_a_name_that_was_made_to_resolve_to_this_machine_is_refused(server, host, status):
    answer = server.ask("/", Host=host)
    assert answer.status == status
    assert ("tiny" in answer.body) == (status == 200)


def test_the_list_runs_no_script_but_its_own_and_pages_are_in_a_sandbox(server):
    shown = server.ask("/")
    policy = shown.headers["Content-Security-Policy"]
    assert re.search(r"default-src 'none'.*script-src 'sha256-[^']+'; connect-src 'self'", policy)
    assert "frame-ancestors 'none'" in policy
    assert "; sandbox allow-scripts" in server.ask("/sweeps/tiny").headers["Content-Security-Policy"]
    assert "allow-same-origin" not in server.ask("/sweeps/tiny").headers["Content-Security-Policy"]
    assert shown.headers["X-Content-Type-Options"] == "nosniff"


def test_hostile_names_are_text(server, folder, results):
    name = "<img src=x onerror=alert(1)> & \u202e100 % \"'"
    results.sweep(folder / name)
    raw = os.fsdecode(b"bytes \xff")
    results.sweep(folder / raw)
    shown = server.ask("/").body
    assert "<img" not in shown
    assert "\u202e" not in shown
    found = re.findall(r'href="(/sweeps/[^"]+)"', shown)
    assert sorted(found) == sorted(f"/sweeps/{quote(os.fsencode(one), safe='')}" for one in (name, raw, "tiny"))
    assert [server.ask(path).status for path in found] == [200, 200, 200]


def test_addresses_at_wandb_have_no_password(server, folder):
    change = b'{"run": "trials/0", "entry": {"url": "https://me:key@wandb.example/me/p/runs/1"}}'
    files.append_line(folder / "tiny" / "wandb" / "cursor.jsonl", change)
    files.append_line(
        folder / "tiny" / "wandb" / "cursor.jsonl", b'{"run": "a", "entry": {"url": "javascript:alert(1)"}}'
    )
    (folder / "tiny" / "tensorboard").mkdir()
    shown = server.ask("/").body
    assert 'href="https://wandb.example/me/p"' in shown
    assert "key@" not in shown
    assert "javascript" not in shown
    assert f"tensorboard --logdir {folder}/tiny/tensorboard" in shown


def test_a_trial_alone_is_singular(server, folder, results):
    timed = results.sweep(folder / "timed")
    settings = yaml.safe_load((timed.path / "sweep.yaml").read_text())
    settings["budget"] = f"{settings.pop('run_cap')}h"
    files.write_yaml(timed.path / "sweep.yaml", settings)
    results.trial(timed.trial(0), [0.5])
    assert ">1 trial</span>" in server.ask("/").body.replace("</progress> ", "")


def test_bad_folders_are_a_row_each(server, folder, results):
    results.sweep(folder / "empty")
    results.trial(results.sweep(folder / "begun").trial(0), [0.5], status=None)
    results.sweep(folder / "other")
    files.write_yaml(folder / "other" / "sweep.yaml", {"metric": 3})
    (folder / "cut").mkdir()
    (folder / "cut" / "sweep.yaml").write_text("{a")
    shown = server.ask("/").body
    assert "5 sweeps" in shown
    assert "0/6 trials, 1 started</span>" in shown
    assert ["No trial has started yet" in shown, "another version" in shown, "not YAML" in shown] == [True] * 3
    assert server.ask("/sweeps/empty").status == 200
    answer = server.ask("/sweeps/other")
    assert (answer.status, answer.body.count("\n")) == (500, 1)
    assert "is damaged" in answer.body


def test_a_client_that_leaves_prints_nothing(server, capfd):
    for _ in range(3):
        client = socket.create_connection((HOST, server.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        client.sendall(b"GET /sweeps/tiny HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.close()
    assert server.ask("/").status == 200
    assert capfd.readouterr() == ("", "")


def test_a_port_that_is_taken_is_one_line_with_the_remedy():
    with listen(0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError) as found:
            listen(port)
        assert str(found.value).startswith(f"--port: port {port} cannot be opened (")
        assert str(found.value).endswith("choose another one with --port, or any free one with --port 0")
        with listen_on_any([port]) as second:
            assert address(second) != address(first)
            assert address(second).startswith("http://127.0.0.1:")
