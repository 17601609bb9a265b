import pytest
from rich.console import Console

from sfumato.cli import methods as module
from sfumato.methods import GROUPS, METHODS


@pytest.mark.parametrize("width", [80, 100, 200])
def test_no_word_is_broken_and_the_source_waits_for_a_wide_terminal(monkeypatch, capsys, width):
    monkeypatch.setattr(module, "wide_console", lambda: Console(width=width))
    module.methods()
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= width
    words = set(text.split())
    for each in METHODS.values():
        expected = [
            each.name,
            *each.label_row.title.split(),
            each.activation_row.title,
            *each.loss_row.title.split(),
            each.decoder,
        ]
        assert words.issuperset(expected)
    assert ("Lombaert" in words) == ("source" in words) == (width == 200)
    assert all(title.split()[0] in words for title in GROUPS)


def test_every_method_is_in_one_group():
    assert [each.name for group in GROUPS.values() for each in group] == list(METHODS)
