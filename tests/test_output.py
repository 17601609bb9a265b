import errno
import subprocess
import sys

import pytest

from sfumato.errors import InputError, MachineError, OutputExistsError
from sfumato.output import atomic_output, require_free


def test_the_output_appears_when_the_block_ends_and_keeps_its_ending(tmp_path):
    path = tmp_path / "new" / "a.nii.gz"
    with atomic_output(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.name.endswith("a.nii.gz")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("failure", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with atomic_output(path, overwrite=True) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(type(failure)):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_whose_move_it_is_depends_on_the_failure(tmp_path):
    def write(number):
        with atomic_output(tmp_path / "a.txt"):
            raise OSError(number, "reason")

    for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
        with pytest.raises(MachineError, match=r"a\.txt could not be written: reason"):
            write(number)
    with pytest.raises(InputError, match="reason"):
        write(errno.EACCES)


def test_a_file_where_a_folder_is_needed_is_the_callers_move(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="could not be written"), atomic_output(tmp_path / "file" / "a.txt"):
        pass


def test_existing_outputs_and_folders_are_refused(tmp_path):
    (tmp_path / "a.txt").write_text("")
    require_free(tmp_path / "b.txt", overwrite=False)
    require_free(tmp_path / "a.txt", overwrite=True)
    with pytest.raises(OutputExistsError, match="--overwrite"):
        require_free(tmp_path / "a.txt", overwrite=False)
    with pytest.raises(OutputExistsError, match="is a folder"):
        require_free(tmp_path, overwrite=True)
    with pytest.raises(OutputExistsError, match="exists already"), atomic_output(tmp_path / "a.txt"):
        pass


def test_a_limit_of_the_operating_system_leaves_nothing_half_written(tmp_path):
    program = (
        "import resource, sys, pathlib, numpy\n"
        "from sfumato.data import write_volume\n"
        "from sfumato.errors import MachineError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "noise = numpy.random.default_rng(0).random((40, 40, 40))\n"
        "try:\n"
        "    write_volume(pathlib.Path(sys.argv[1]), noise, spacing=(1.0, 1.0, 1.0))\n"
        "except MachineError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.nii.gz")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "could not be written: File too large" in done.stdout
    assert list(tmp_path.iterdir()) == []
