"""Tiny recipes for every test of run folders."""

import pytest

from tiny_cases import tiny_recipe


@pytest.fixture
def content():
    return tiny_recipe()


@pytest.fixture
def content_2d():
    return tiny_recipe(axes=2)
