"""A type checker sees what the public functions take and return, from ``import sfumato`` alone."""

import re

import pytest

from sfumato import geodesic, labels, losses, metrics

api = pytest.importorskip("mypy.api")


@pytest.mark.slow
def test_no_public_name_is_any_to_a_type_checker(tmp_path):
    names = [
        f"{package.__name__}.{name}"
        for package in (geodesic, labels, losses, metrics)
        for name in package.__all__
    ]
    script = tmp_path / "user.py"
    reveals = "\n".join(f"reveal_type({name})" for name in names)
    script.write_text(f"import sfumato\n{reveals}\n", encoding="utf-8")
    report, problems, status = api.run([str(script), "--no-error-summary"])
    revealed = re.findall(r'Revealed type is "(.*)"', report)
    assert (status, problems) == (0, ""), report
    assert len(revealed) == len(names)
    for name, seen in zip(names, revealed, strict=True):
        assert seen != "Any", name
        assert "->" not in seen or not seen.endswith("-> Any"), f"{name} returns Any"
