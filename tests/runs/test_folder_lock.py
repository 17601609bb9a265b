"""One process at a time writes to a folder, and a killed one is never in the way."""

import errno
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from sfumato.data import open_dataset
from sfumato.errors import InputError
from sfumato.recipe.recipe import parse_recipe
from sfumato.runs import lock as folder_lock
from sfumato.runs.lock import LOCK, holds_anything, sole_writer
from sfumato.study.run import complete_run
from sfumato.training.fit import fit
from tiny_cases import tiny_recipe, write_cases

HOLD = """
import os, sys
from pathlib import Path
from sfumato.runs.lock import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    if len(sys.argv) > 2:
        child = os.fork()
        if not child:
            import time
            time.sleep(600)
        print(child, flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(folder, *arguments):
    """Another process that writes to the folder."""
    command = [sys.executable, "-c", HOLD, str(folder), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_second_process_is_refused_and_told_the_folder_and_the_first_ones_id(tmp_path):
    folder = tmp_path / "run"
    with holder(folder) as first:
        with (
            pytest.raises(
                InputError, match=f"run is in use: process {first.pid} on .+ writes to it"
            ) as caught,
            sole_writer(folder),
        ):
            pass
        assert str(folder) in str(caught.value)
        assert caught.value.exit_status == 2
        first.communicate("")
    assert not folder.exists()
    with sole_writer(folder):
        pass


def test_killed_process_is_not_in_the_way_even_where_a_forked_child_lives_on(tmp_path):
    with holder(tmp_path, "fork") as first:
        child = int(first.stdout.readline())
        try:
            first.send_signal(signal.SIGKILL)
            first.wait()
            assert (tmp_path / LOCK).exists()
            with sole_writer(tmp_path):
                assert (tmp_path / LOCK).read_text().startswith(f"process {os.getpid()} on ")
        finally:
            os.kill(child, signal.SIGKILL)
    assert not (tmp_path / LOCK).exists()


def test_blocks_of_one_thread_nest_and_another_thread_is_refused(tmp_path):
    folder, refused = tmp_path / "run", []

    def other():
        try:
            with sole_writer(folder):
                pass
        except InputError as error:
            refused.append(str(error))

    with sole_writer(folder), sole_writer(tmp_path / "." / "run"):
        with sole_writer(folder):
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert (folder / LOCK).exists()
    assert "in use: another thread" in refused[0]
    other()
    assert len(refused) == 1


def test_what_was_made_for_the_lock_goes_and_what_was_written_stays(tmp_path):
    with sole_writer(tmp_path / "a" / "b"):
        assert not holds_anything(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    with sole_writer(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
        assert holds_anything(tmp_path / "a" / "b")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]
    (tmp_path / "c").mkdir()
    with sole_writer(tmp_path / "c"):
        pass
    assert (tmp_path / "c").is_dir()
    with pytest.raises(InputError, match="file cannot be written to"), sole_writer(tmp_path / "a/b/file"):
        pass


def test_file_that_its_last_holder_removed_meanwhile_is_not_taken_for_the_lock(tmp_path, monkeypatch):
    lock, calls = folder_lock._lock, []

    def late(file):
        calls.append(file)
        if len(calls) == 1:
            (tmp_path / LOCK).unlink()
        lock(file)

    monkeypatch.setattr(folder_lock, "_lock", late)
    with sole_writer(tmp_path):
        assert len(calls) == 2
        assert (tmp_path / LOCK).exists()


def test_file_system_without_locks_is_warned_of_and_used(tmp_path, monkeypatch, caplog):
    def lock(_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_lock, "_lock", lock)
    with sole_writer(tmp_path):
        (tmp_path / "file").touch()
    assert "knows no locks (No locks available)" in caplog.text
    monkeypatch.setattr(folder_lock, "_lock", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"), sole_writer(tmp_path):
        pass


@pytest.mark.parametrize("train", [fit, complete_run])
@pytest.mark.parametrize("option", ["resume", "overwrite"])
def test_run_that_another_process_trains_is_not_touched(tmp_path, train, option):
    data = open_dataset(write_cases(tmp_path / "data", axes=2))
    recipe = parse_recipe(tiny_recipe(2), source="test")
    folder = tmp_path / "run"
    with holder(folder) as first:
        (folder / "recipe.yaml").write_text("precious")
        with pytest.raises(InputError, match=f"process {first.pid}"):
            train(recipe, data, folder, **{option: True})
        assert (folder / "recipe.yaml").read_text() == "precious"
    assert sorted(path.name for path in folder.iterdir()) == [LOCK, "recipe.yaml"]


def test_replaced_run_stays_locked_and_leaves_no_lock(tmp_path, monkeypatch):
    data = open_dataset(write_cases(tmp_path / "data", axes=2))
    recipe, folder = parse_recipe(tiny_recipe(2), source="test"), tmp_path / "run"
    seen = []
    monkeypatch.setattr("sfumato.training.fit._fit", lambda *_: seen.append(sorted(folder.iterdir())))
    fit(recipe, data, folder)
    (folder / "old").mkdir()
    (folder / "older").touch()
    fit(recipe, data, folder, overwrite=True)
    names = {LOCK, "checkpoints", "splits.json", "environment.json", "recipe.yaml"}
    assert [{path.name for path in each} for each in seen] == [names, names]
    assert {path.name for path in folder.iterdir()} == names - {LOCK}


def test_run_stays_locked_while_it_predicts(tmp_path, monkeypatch):
    data = open_dataset(write_cases(tmp_path / "data", axes=2))
    recipe, folder = parse_recipe(tiny_recipe(2), source="test"), tmp_path / "run"
    seen = []
    monkeypatch.setattr("sfumato.training.fit._fit", lambda *_: None)
    monkeypatch.setattr(
        "sfumato.study.run.evaluate_run", lambda *_, **__: seen.append((folder / LOCK).exists())
    )
    complete_run(recipe, data, folder)
    assert seen == [True]
