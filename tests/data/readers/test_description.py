import json

import pytest

from sfumato.data.readers.description import Description, read_description
from sfumato.errors import FileFormatError, InputError


def _read(tmp_path, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "dataset.json").write_text(text)
    return read_description(tmp_path)


def test_without_a_file_nothing_is_declared(tmp_path):
    assert read_description(tmp_path) == Description()


@pytest.mark.parametrize(
    "content",
    [
        {"labels": {"0": "background", "2": "head", "1": "tail"}, "modality": {"0": "T1", "1": "T2"}},
        {"labels": {"background": 0, "tail": 1, "head": 2}, "channel_names": {"1": "T2", "0": "T1"}},
        {"labels": {"tail": "1", "head": "2"}, "channel_names": ["T1", "T2"]},
    ],
)
def test_both_spellings_of_nnunet_mean_the_same(tmp_path, content):
    description = _read(tmp_path, content)
    assert description.label_names == {0: "background", 1: "tail", 2: "head"}
    assert list(description.label_names) == [0, 1, 2]
    assert description.channel_names == ("T1", "T2")
    assert description.regions is None


def test_ten_channels_are_in_the_order_of_their_numbers(tmp_path):
    names = {str(number): f"c{number}" for number in range(11)}
    assert _read(tmp_path, {"channel_names": names}).channel_names[10] == "c10"


def test_lists_of_labels_are_regions(tmp_path):
    description = _read(
        tmp_path, {"labels": {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}}
    )
    assert description.regions == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert description.label_names == {0: "background", 1: "label 1", 2: "label 2", 3: "enhancing"}


def test_our_own_keys_are_read(tmp_path):
    description = _read(
        tmp_path,
        {"name": "x", "regions": {"cord": [1, 2], "grey": 2}, "rater_names": ["A", "B"], "spacing": [1, 2]},
    )
    assert description.regions == {"cord": (1, 2), "grey": (2,)}
    assert description.rater_names == ("A", "B")
    assert description.spacing == (1.0, 2.0)
    assert description.name == "x"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": {"background": 0, "a": 1, "b": 4}}, r"labels are \[0, 1, 4\]: expected 0 \.\. 2"),
        ({"labels": {"background": 0, "ignore": 2, "a": 1}}, "'ignore' label is not supported"),
        ({"labels": {"background": 0, "a": "one"}}, "'a' has value 'one'"),
        ({"labels": [0, 1]}, "labels must be an object"),
        ({"channel_names": {"1": "T1"}}, "channel_names must be an object"),
        ({"channel_names": {"first": "T1"}}, "channel_names must be an object"),
        ({"spacing": "wide"}, "cannot be used"),
        ({"spacing": 3}, "cannot be used"),
        ({"regions": [1]}, "regions must be an object"),
    ],
)
def test_an_entry_that_cannot_be_used_is_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        _read(tmp_path, content)


@pytest.mark.parametrize("content", ["{", "[1, 2]"])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    with pytest.raises(FileFormatError, match=r"dataset\.json"):
        _read(tmp_path, content)
