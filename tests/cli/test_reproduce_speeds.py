"""``sfumato reproduce --list --speeds``: hours from the user's own measurement."""

import io
from contextlib import redirect_stderr, redirect_stdout

import pytest

from sfumato.cli.app import run


def called(*arguments):
    """Exit status, what was printed, what was complained about."""
    with redirect_stdout(io.StringIO()) as said, redirect_stderr(io.StringIO()) as complained:
        status = run(["reproduce", *map(str, arguments)])
    return status, said.getvalue(), complained.getvalue()


@pytest.fixture
def speeds(tmp_path):
    path = tmp_path / "speeds.csv"
    path.write_text("network,precision,machine,seconds_per_megavoxel\nsvls-unet3d,32,Some GPU,0.2\n")
    return path


def hours(said, name):
    (line,) = (line for line in said.splitlines() if line.startswith(f"{name} "))
    return line.split()[-1]


def test_measured_networks_lose_the_mark_and_the_others_keep_it(speeds):
    status, said, complained = called("--list", "--speeds", speeds)
    assert (status, complained) == (0, "")
    # 177,000 steps of 4 x 192 x 192 x 128 voxels at 0.2 s per million.
    assert hours(said, "geols-table1") == "186"
    assert hours(said, "singr-table1").startswith("~")
    assert "from steps measured on Some GPU, precision 32." in said
    _, unmeasured, _ = called("--list")
    assert hours(unmeasured, "geols-table1").startswith("~")
    assert hours(unmeasured, "singr-table1") == hours(said, "singr-table1")


def test_speeds_without_list_and_files_without_times_are_refused(speeds):
    status, _, complained = called("geols-table1", "--speeds", speeds)
    assert status == 2
    assert "--speeds is for the hours of --list" in complained
    speeds.write_text("network,precision\nunet,32\n")
    status, said, complained = called("--list", "--speeds", speeds)
    assert (status, said) == (2, "")
    assert "lacks machine, seconds_per_megavoxel" in complained
