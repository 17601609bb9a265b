"""What our loggers warn of reaches the terminal, once, and only while a command runs."""

import logging

from sfumato.cli import app

LOG = logging.getLogger("sfumato.training")


def test_warnings_are_shown_while_a_command_runs(monkeypatch, capsys):
    def command(**_):
        for level in (logging.INFO, logging.WARNING, logging.ERROR):
            LOG.log(level, "level %d", level)
        return 0

    monkeypatch.setattr(app, "app", command)
    monkeypatch.setattr(logging, "lastResort", None)
    assert app.run([]) == 0
    assert capsys.readouterr().err == "sfumato: warning: level 30\n"
    LOG.warning("afterwards")
    assert capsys.readouterr().err == ""
