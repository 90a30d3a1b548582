"""Results on shared storage: what is there is whole, and enough to go on from."""

import json
import shutil
import threading
import time
from types import SimpleNamespace

import fsspec
import pytest
from pyarrow.fs import FSSpecHandler, PyFileSystem
from typer.testing import CliRunner

from hwcls.cli.main import app
from hwcls.config.sweep_file import load_sweep
from hwcls.errors import UserError
from hwcls.inspection.load_trained import count_test_read
from hwcls.results.ensemble.folder import check_own
from hwcls.sweep.run import confirm_plan
from hwcls.sweep.search import messages
from hwcls.sweep.storage import lease
from hwcls.sweep.storage import mirror as module
from hwcls.sweep.storage.changes.exclusion import exclude_trials, include_trials
from hwcls.sweep.storage.mirror import Mirror, SharedResults
from hwcls.sweep.storage.object_store import Store, is_url, open_store, split_url
from hwcls.sweep.storage.results_folder import check_folder
from tests.sweep.faults import Disturbed


def shared_results(s3, tmp_path, name):
    return SharedResults(f"{s3.url}/{name}", tmp_path / "cache")


def started(shared):
    """As a driver that has begun to work."""
    shared.download()
    shared.lease.acquire()
    return shared


def contents(url):
    """What lies there, but for who worked there last."""
    store = open_store(url)
    return {name: store.read(name) for name in store.list_objects() if not name.endswith("driver.json")}


def test_what_changes_goes_up_and_comes_down_elsewhere(s3, tmp_path, monkeypatch):
    here = started(shared_results(s3, tmp_path, "mirror").mirror("a"))
    (here.local / "trials/0").mkdir(parents=True)
    (here.local / "trials/0/metrics.jsonl").write_bytes(b"one\n")
    (here.local / "study.journal").write_bytes(b"j")
    (here.local / ".lock").write_bytes(b"")
    (here.local / "half.tmp").write_bytes(b"")
    assert here.upload_changes()
    assert set(contents(here.url)) == {"trials/0/metrics.jsonl", "study.journal"}
    sent = len(s3.asked)
    assert here.upload_changes()
    assert not [path for method, path in s3.asked[sent:] if method == "PUT"]
    with open(here.local / "trials/0/metrics.jsonl", "ab") as file:
        file.write(b"two\n")
    (here.local / "study.journal").unlink()
    assert here.upload_changes()
    assert contents(here.url)["trials/0/metrics.jsonl"] == b"one\ntwo\n"
    assert "study.journal" not in contents(here.url)

    monkeypatch.setattr(lease, "TTL", 0.0)  # the first driver is dead
    there = SharedResults(f"{s3.url}/mirror", tmp_path / "other").mirror("a")
    there.download()
    assert (there.local / "trials/0/metrics.jsonl").read_bytes() == b"one\ntwo\n"
    assert not (there.local / "driver.json").exists()


def test_the_study_goes_first_and_what_speaks_of_others_last(s3, tmp_path):
    here = started(shared_results(s3, tmp_path, "order").mirror("a"))
    names = ["trials/0/best.safetensors", "trials/0/result.json", "tune/x/state.pt", "study.journal", "zzz"]
    names += ["best/best.json", "best/best.safetensors", ".best.7.tmp/best.safetensors"]  # of a folder being written
    for name in names:
        (here.local / name).parent.mkdir(parents=True, exist_ok=True)
        (here.local / name).write_bytes(b"x")
    s3.asked.clear()
    assert here.upload_changes()
    puts = [path.removeprefix("/results/sweeps/order/a/") for method, path in s3.asked if method == "PUT"]
    assert puts == [
        "study.journal",
        "best/best.safetensors",
        "trials/0/best.safetensors",
        "tune/x/state.pt",
        "zzz",
        "best/best.json",
        "trials/0/result.json",
    ]


def test_an_older_working_copy_becomes_what_the_storage_holds(s3, tmp_path, monkeypatch):
    here = started(shared_results(s3, tmp_path, "stale").mirror("a"))
    (here.local / "new").write_bytes(b"new")
    assert here.upload_changes()
    stale = SharedResults(f"{s3.url}/stale", tmp_path / "other").mirror("a")
    stale.local.mkdir(parents=True)
    (stale.local / "old").write_bytes(b"of an earlier driver")
    (stale.local / "new").write_bytes(b"older")
    monkeypatch.setattr(lease, "TTL", 0.0)  # the driver there is dead
    stale.download()
    assert not (stale.local / "old").exists()
    assert (stale.local / "new").read_bytes() == b"new"


def test_a_second_driver_is_refused_until_the_first_is_dead(s3, tmp_path, monkeypatch):
    first = started(shared_results(s3, tmp_path, "two").mirror("a"))
    second = SharedResults(f"{s3.url}/two", tmp_path / "other").mirror("a")
    with pytest.raises(UserError, match="works on this sweep, last heartbeat"):
        second.download()
    monkeypatch.setattr(lease, "TTL", 0.0)
    started(second)
    monkeypatch.undo()
    with pytest.raises(UserError, match="works on this sweep, last heartbeat"):
        first.upload_changes()  # it was only cut off, and changes nothing that the second one has taken over


def go_on(shared, meanwhile=lambda: None, interrupted=lambda: False):
    """Half a minute of work, where nothing ends it."""
    with shared.uploading():
        meanwhile()
        for _ in range(600):
            if interrupted():
                raise KeyboardInterrupt
            time.sleep(0.05)


@pytest.mark.parametrize("seen", [0.0, 1e12])
def test_one_that_was_cut_off_sends_nothing_more_once_another_took_over(s3, tmp_path, monkeypatch, seen):
    """Whether that one has ended since or still works; and what it would go on to do for nobody is ended, too."""
    monkeypatch.setattr(module, "EVERY", 0.1)
    interrupted = threading.Event()  # for a real one, this would have to be the main thread, which it need not be here
    monkeypatch.setattr(module, "_thread", SimpleNamespace(interrupt_main=interrupted.set))
    main = SimpleNamespace(**{**vars(threading), "main_thread": threading.current_thread})
    monkeypatch.setattr(module, "threading", main)
    first = shared_results(s3, tmp_path, f"cut{seen:.0f}").mirror("a")
    first.download()

    def taken_over():
        first.store.write("driver.json", json.dumps({"host": "other", "id": "another", "seen": seen}).encode())
        first.store.write("study.journal", b"second")
        (first.local / "study.journal").write_bytes(b"first")

    with pytest.raises(UserError, match=r"other (has taken over this sweep|works on this sweep)"):
        go_on(first, taken_over, interrupted.is_set)
    assert interrupted.is_set()
    assert contents(first.url) == {"study.journal": b"second"}


def test_after_a_sleep_it_is_asked_first_who_works_there(s3, tmp_path):
    here = started(shared_results(s3, tmp_path, "slept").mirror("a"))
    (here.local / "study.journal").write_bytes(b"first")
    here.store.write("driver.json", json.dumps({"host": "other", "id": "another", "seen": 0.0}).encode())
    here.lease.renewed = time.time() - 100
    with pytest.raises(UserError, match="other has taken over this sweep"):
        here._upload("study.journal", (0, 0, 0))


def test_two_that_start_at_once_do_not_both_begin(s3, tmp_path, monkeypatch):
    first, second = (SharedResults(f"{s3.url}/once", tmp_path / name).mirror("a") for name in "ab")
    first.download()
    second.download()
    first.lease.acquire()
    with pytest.raises(UserError, match="works on this sweep"), second.uploading():
        pass
    with first.uploading():
        pass
    third, fourth = (SharedResults(f"{s3.url}/once", tmp_path / name).mirror("a") for name in "cd")
    third.download()
    fourth.download()
    with fourth.uploading():
        pass
    with pytest.raises(UserError, match="another driver has just worked on this sweep"), third.uploading():
        pass


def test_who_is_refused_leaves_the_sweep_to_the_machine_that_worked_on_it(s3, tmp_path, monkeypatch):
    """A head was killed with records that it had not sent; meanwhile somebody asks for more seeds from a laptop."""
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "laptop"))
    killed = started(shared_results(s3, tmp_path, "asked").mirror("a"))
    (killed.local / "sweep.yaml").write_text("name: a")
    assert killed.upload_changes()
    (killed.local / "late").write_bytes(b"not sent")
    with monkeypatch.context() as dead:
        dead.setattr(lease, "TTL", 0.0)
        done = CliRunner().invoke(app, ["confirm", f"{killed.url}"])
    assert done.exit_code == 2, done.output
    again = shared_results(s3, tmp_path, "asked").mirror("a")
    again.download()
    assert (again.local / "late").read_bytes() == b"not sent"


def test_storage_that_forgets_for_a_moment_is_no_other_driver(s3, tmp_path, monkeypatch):
    """Some file systems say that there is no such file where they are out of reach."""
    here = started(shared_results(s3, tmp_path, "forgets").mirror("a"))

    def gone(store, name):
        raise FileNotFoundError(name)

    monkeypatch.setattr(type(here.store), "read", gone)
    (here.local / "one").write_bytes(b"1")
    assert here.upload_changes()
    monkeypatch.setattr(type(here.store), "read", lambda store, name: b"half of a")
    assert here.upload_changes()


def test_a_driver_lives_also_during_a_long_upload(s3, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EVERY", 0.05)
    here = shared_results(s3, tmp_path, "long").mirror("a")
    here.download()
    write = type(here.store).write

    def slow(store, name, content):
        if name == "large":
            time.sleep(2)
        write(store, name, content)

    monkeypatch.setattr(type(here.store), "write", slow)
    with here.uploading():
        (here.local / "large").write_bytes(b"x")
        s3.asked.clear()
    alive = [path for method, path in s3.asked if method == "PUT" and path.endswith("driver.json")]
    assert len(alive) >= 5


def test_a_trial_has_ended_there_once_its_result_is_there(s3, tmp_path, monkeypatch):
    here = started(shared_results(s3, tmp_path, "ends").mirror("a"))
    running = b'{"op_code":4,"study_id":0}\n{"op_code":6,"trial_id":0,"state":0}\n'
    ended = b'{"op_code":6,"trial_id":0,"state":1}\n'
    (here.local / "study.journal").write_bytes(running + ended)
    (here.local / "trials/0").mkdir(parents=True)
    (here.local / "trials/0/metrics.jsonl").write_bytes(b"one\n")
    assert here.upload_changes()
    assert contents(here.url)["study.journal"] == running
    (here.local / "trials/0/result.json").write_bytes(b"{}")

    written, write = [], type(here.store).write
    monkeypatch.setattr(type(here.store), "write", lambda *call: (written.append(call[1:]), write(*call)))
    assert here.upload_changes()
    written = [call for call in written if call[0] != "driver.json"]
    assert written == [
        ("study.journal", running),
        ("trials/0/result.json", b"{}"),
        ("study.journal", running + ended),
    ]
    assert here.upload_changes()
    assert len([name for name, _ in written if name != "driver.json"]) == 3  # nothing was left to send


def test_a_driver_that_was_killed_goes_on_from_what_it_had_not_sent(s3, tmp_path):
    killed = started(shared_results(s3, tmp_path, "killed").mirror("a"))
    for name in ("early", "gone"):
        (killed.local / name).write_bytes(b"sent")
    assert killed.upload_changes()
    (killed.local / "early").write_bytes(b"not sent")
    (killed.local / "late").write_bytes(b"not sent")
    (killed.local / "gone").unlink()

    again = started(shared_results(s3, tmp_path, "killed").mirror("a"))
    assert (again.local / "late").read_bytes() == b"not sent"
    with again.uploading():
        pass
    assert contents(again.url) == {"early": b"not sent", "late": b"not sent"}


def test_what_was_not_sent_stays_where_the_storage_forgets_who_worked_there(s3, tmp_path, monkeypatch):
    """A folder that is not mounted looks like an empty one."""
    killed = started(shared_results(s3, tmp_path, "unmounted").mirror("a"))
    (killed.local / "late").write_bytes(b"not sent")
    with monkeypatch.context() as away:
        away.setattr(type(killed.store), "read", lambda store, name: (tmp_path / "nowhere" / name).read_bytes())
        away.setattr(type(killed.store), "list_objects", lambda store: [])
        again = shared_results(s3, tmp_path, "unmounted").mirror("a")
        again.download()
    assert (again.local / "late").read_bytes() == b"not sent"
    with again.uploading():
        pass
    assert contents(again.url) == {"late": b"not sent"}


def test_a_copy_of_which_all_was_sent_gives_way_to_the_storage(s3, tmp_path):
    here = started(shared_results(s3, tmp_path, "elsewhere").mirror("a"))
    with here.uploading():
        (here.local / "one").write_bytes(b"1")
    there = SharedResults(f"{s3.url}/elsewhere", tmp_path / "other").mirror("a")
    there.download()
    with there.uploading():
        (there.local / "one").write_bytes(b"2")
    again = started(shared_results(s3, tmp_path, "elsewhere").mirror("a"))
    assert (again.local / "one").read_bytes() == b"2"


def test_a_server_that_fails_for_a_while_costs_nothing(s3, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "EVERY", 0.2)
    here = shared_results(s3, tmp_path, "fails").mirror("a")
    caplog.set_level("INFO", "hwcls")
    here.download()
    with here.uploading():
        (here.local / "one").parent.mkdir(parents=True, exist_ok=True)
        (here.local / "one").write_bytes(b"1")
        s3.fails = True
        until = time.monotonic() + 30
        while not caplog.messages and time.monotonic() < until:
            time.sleep(0.1)
        (here.local / "two").write_bytes(b"2")
        s3.fails = False
    assert "does not respond" in caplog.messages[0]
    assert "responds again" in caplog.messages[1]
    assert set(contents(here.url)) == {"one", "two"}


def test_what_never_answers_is_said_with_where_the_results_are(s3, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EVERY", 0.1)
    monkeypatch.setattr(module, "DRAIN", 0.0)
    here = started(shared_results(s3, tmp_path, "never").mirror("a"))
    try:
        with pytest.raises(UserError, match=f"everything is in {here.local}"), here.uploading():
            s3.fails = True
    finally:
        s3.fails = False


class Faulty(FSSpecHandler):
    """A file system that raises what is no OSError while it `fails`, as those of fsspec may."""

    fails = False

    def open_output_stream(self, path, metadata):
        if self.fails:
            raise ValueError("quota")
        return super().open_output_stream(path, metadata)


def test_an_error_of_a_library_is_retried(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "EVERY", 0.05)
    handler = Faulty(fsspec.filesystem("memory"))
    monkeypatch.setattr(lease, "open_store", lambda url: Store(PyFileSystem(handler), "/faulty"))
    here = SharedResults("memory://faulty", tmp_path / "cache").mirror("a")
    here.download()
    with here.uploading():
        handler.fails = True
        (here.local / "one").write_bytes(b"1")
        wait_for(lambda: here.down)
        assert "does not respond (ValueError: quota); retrying" in caplog.text
        handler.fails = False
        wait_for(lambda: "one" in here.store.list_objects())
        with monkeypatch.context() as patch:
            patch.setattr(module, "drop_ends", None)  # an error of hwcls itself
            (here.local / "study.journal").write_bytes(b"j")
            wait_for(lambda: here.down)
        wait_for(lambda: "study.journal" in here.store.list_objects())
        assert here.error is None


def wait_for(happened):
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    store = open_store(f"file://{tmp_path}/a")
    store.write("b/one", b"1")
    (tmp_path / "a/b/.two.7.tmp").write_bytes(b"half")  # of a driver that was killed
    with pytest.raises(OSError, match="TypeError"):
        store.write("b/one", None)
    assert store.read("b/one") == b"1"
    assert store.list_objects() == ["b/one"]


@pytest.mark.parametrize("moves", [True, False])
def test_a_file_system_with_folders_replaces_a_file_at_once(tmp_path, monkeypatch, moves):
    """As SFTP does; a server that refuses to replace a file gets it in its place."""
    inner = fsspec.filesystem("local", skip_instance_cache=True)
    store = Store(PyFileSystem(FSSpecHandler(inner)), f"{tmp_path}/a")
    seen, move = [], inner.mv

    def moving(old, new):
        seen.append([path.read_bytes() for path in sorted((tmp_path / "a/b").iterdir())])
        if not moves:
            raise OSError("refused")
        move(old, new)

    monkeypatch.setattr(inner, "mv", moving)
    store.write("b/one", b"1")
    store.write("b/one", b"22")
    assert seen == [[b"1"], [b"1", b"22"]]
    assert store.read("b/one") == b"22"
    with pytest.raises(OSError, match="TypeError"):
        store.write("b/one", None)
    assert store.read("b/one") == b"22"
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["one"]


def test_an_object_store_is_written_directly(monkeypatch):
    inner = fsspec.filesystem("memory")
    moved = []
    monkeypatch.setattr(type(inner), "mv", lambda *names, **_: moved.append(names))
    store = Store(PyFileSystem(FSSpecHandler(inner)), "/direct")
    store.write("b/one", b"1")
    assert store.read("b/one") == b"1"
    assert moved == []


def test_a_url_with_options(s3, tmp_path):
    assert split_url("s3://bucket/a/name/?region=eu-west-1") == ("s3://bucket/a?region=eu-west-1", "name")
    assert split_url("s3://bucket/a/name") == ("s3://bucket/a", "name")
    shared = SharedResults(f"{s3.url}/options?region=us-east-1", tmp_path / "cache")
    first = started(shared.mirror("first"))
    (first.local / "sweep.yaml").write_text("name: first\n")
    assert first.upload_changes()
    assert contents(f"{s3.url}/options/first") == {"sweep.yaml": b"name: first\n"}
    assert shared.sweep_names() == ["first"]
    second = shared.mirror("second")
    assert split_url(second.url) == (shared.url, "second")
    second.download()
    assert not (second.local / "sweep.yaml").exists()


def test_a_place_that_cannot_be_used(s3, tmp_path):
    with pytest.raises(UserError, match="cannot be read and written"):
        go_on(SharedResults("s3://no-such-bucket/x", tmp_path).mirror("a"))
    with pytest.raises(UserError, match="cannot be opened"):
        SharedResults("nonsense://x/y", tmp_path).mirror("a").download()
    assert is_url("s3://a/b")
    assert not is_url("/a/b")


def test_states_go_with_their_checkpoint(s3, tmp_path):
    from hwcls.sweep.storage import checkpoint_store

    here = started(shared_results(s3, tmp_path, "states").mirror("a"))
    folder = here.local / "tune/t/checkpoint_1"
    folder.mkdir(parents=True)
    (folder / "state.pt").write_bytes(b"state")
    checkpoint_store.upload_state(folder, here.url, "trials-0")
    assert [path.name for path in folder.iterdir()] == ["elsewhere.json"]
    assert here.upload_changes()
    lies = json.loads((folder / "elsewhere.json").read_text())["folder"]
    assert contents(here.url)[f"{lies}/state.pt"] == b"state"

    checkpoint_store.download_state(folder, here.url)
    assert (folder / "state.pt").read_bytes() == b"state"
    shutil.rmtree(folder)
    assert here.upload_changes()
    assert f"{lies}/state.pt" not in contents(here.url)


def test_a_state_stays_where_nobody_listens(s3, tmp_path, monkeypatch):
    from hwcls.sweep.storage import checkpoint_store

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(checkpoint_store, "PAUSE", 0.0)
    (tmp_path / "state.pt").write_bytes(b"state")
    checkpoint_store.upload_state(tmp_path, "s3://results/sweeps/silent/a", "trials-0")
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    (tmp_path / checkpoint_store.ELSEWHERE).write_text('{"folder": "state/x"}')
    monkeypatch.setattr(checkpoint_store, "TRIES", 2)
    with pytest.raises(UserError, match="state cannot be downloaded"):
        checkpoint_store.download_state(tmp_path, "s3://results/sweeps/silent/a")


def test_a_state_stays_where_the_storage_does_not_answer(s3, tmp_path):
    from hwcls.sweep.storage import checkpoint_store

    (tmp_path / "state.pt").write_bytes(b"state")
    s3.fails = True
    try:
        checkpoint_store.upload_state(tmp_path, f"{s3.url}/refused/a", "trials-0")
    finally:
        s3.fails = False
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.slow
def test_a_sweep_goes_on_from_what_a_lost_head_left(run, s3, tmp_path, monkeypatch):
    """What lay on the storage in the middle of a sweep is enough to end it elsewhere as if nothing had been."""
    monkeypatch.setattr(module, "EVERY", 0.3)
    monkeypatch.setattr(messages, "SAVE_EVERY", 0.5)
    alone, kept = Disturbed(tmp_path / "alone", pause=0.0), {}
    run(load_sweep(alone.file), results=alone.results)
    upload = Mirror.upload_changes

    def watched(self):
        """Keep what lies there as soon as a trial has left a checkpoint in the middle."""
        sent = upload(self)
        if not kept and any(name.endswith("/elsewhere.json") for name in self.uploaded):
            kept.update(contents(self.url))
        return sent

    monkeypatch.setattr(Mirror, "upload_changes", watched)
    sweep, first = Disturbed(tmp_path / "lost"), shared_results(s3, tmp_path, "lost")
    run(load_sweep(sweep.file), results=first.local, shared=first)
    left = contents(first.mirror("disturbed").url)
    assert {"report.html", "sweep.log"} <= left.keys()
    assert b"the sweep has ended" in left["sweep.log"]
    assert not any(name.startswith(("tune/", "state/")) for name in left)

    for name, content in kept.items():
        open_store(f"{s3.url}/found/disturbed").write(name, content)
    shutil.rmtree(first.local)
    second = SharedResults(f"{s3.url}/found", tmp_path / "elsewhere")
    outcome, said = run(load_sweep(sweep.file), results=second.local, shared=second)
    assert "resumes after epoch" in said
    found = {n: list(map(untimed, trial.records())) for n, trial in outcome.folder.trials().items()}
    assert found == alone.numbers()
    assert len(contents(second.mirror("disturbed").url)["leaderboard.csv"].splitlines()) == 1 + sweep.trials

    more = SharedResults(second.url, tmp_path / "third")  # confirmed from yet another machine
    more.mirror("disturbed").download()
    run(confirm_plan.add_seeds(more.local / "disturbed", 2), results=more.local, shared=more)
    there = [name for name in contents(more.mirror("disturbed").url) if name.startswith("confirm/")]
    assert sum(name.endswith("result.json") for name in there) == 3 * 2 + 2  # picks, and reports of the winner


def test_confirming_what_is_not_there_or_only_a_copy(s3, tmp_path, monkeypatch):
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    done = CliRunner().invoke(app, ["confirm", f"{s3.url}/nothing/a"])
    assert done.exit_code == 2
    assert f"{s3.url}/nothing/a: there is no such folder" in done.output
    assert not contents(f"{s3.url}/nothing")
    here = started(shared_results(s3, tmp_path, "copy").mirror("a"))
    done = CliRunner().invoke(app, ["confirm", str(here.local)])
    assert done.exit_code == 2
    assert "is only the local copy" in done.output


def test_what_a_start_left_before_its_first_trial_is_taken_for_its_own_elsewhere(tmp_path):
    url = f"file://{tmp_path}/bucket"
    here = started(SharedResults(url, tmp_path / "cache").mirror("a"))
    here.local.mkdir(parents=True, exist_ok=True)
    (here.local / "sweep.yaml").write_text("name: a\n")
    (here.local / "sweep.log").write_text("started\n")
    assert here.upload_changes()
    here.lease.release()
    there = SharedResults(url, tmp_path / "elsewhere").mirror("a")
    there.download()
    assert (there.local / "sweep.yaml").exists()
    assert check_folder(there.local, {"name": "a"}) is None
    (tmp_path / "bucket/a/photo.png").write_bytes(b"of the user")
    third = SharedResults(url, tmp_path / "third").mirror("a")
    third.download()
    with pytest.raises(UserError, match=r"photo\.png"):
        check_folder(third.local, {"name": "a"})


def test_what_would_be_lost_with_a_local_copy_is_not_written_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HWCLS_CACHE", str(tmp_path / "cache"))
    path = SharedResults(f"file://{tmp_path}/bucket", tmp_path / "cache").local / "a"
    (path / "trials/0").mkdir(parents=True)
    (path / "sweep.yaml").write_text("name: a\n")
    (path / "trials/0/config.yaml").write_text("x: 1\n")
    before = sorted(path.rglob("*"))
    for write in (
        lambda: exclude_trials(path, [0], "the GPU was faulty"),
        lambda: include_trials(path, [0]),
        lambda: count_test_read(path / "trials/0"),
        lambda: check_own(path / "ensemble"),
    ):
        with pytest.raises(UserError, match=r"is only the local copy of results on shared storage .* copy the folder"):
            write()
    done = CliRunner().invoke(app, ["figures", str(path)])
    assert "is only the local copy of results on shared storage — name another folder: --out" in done.output
    assert sorted(path.rglob("*")) == before
    shutil.copytree(path, tmp_path / "mine")
    assert count_test_read(tmp_path / "mine/trials/0") == 1


@pytest.mark.parametrize(
    "command", ["trials exclude URL 1 --why x", "trials include URL 1", "wandb sync URL", "report URL"]
)
def test_a_command_that_takes_a_folder_refuses_a_url_and_shows_no_key(command):
    done = CliRunner().invoke(app, command.replace("URL", "s3://key:5ecret@bucket/a").split())
    assert done.exit_code == 2
    assert done.output == "hwcls: s3://bucket/a: is no folder of this machine — download it, and name that copy\n"


@pytest.mark.parametrize("path", ["server:/data/r", "/usr/sbin:/bin"])
def test_a_path_with_a_colon_is_no_url(path):
    done = CliRunner().invoke(app, ["report", path])
    assert done.exit_code == 2
    assert f"{path}: there is no such folder" in done.output


def untimed(line):
    return {key: value for key, value in line.items() if key not in ("seconds", "images_per_second")}
