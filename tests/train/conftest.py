"""Runs of two processes on one record file of mixed clips, started the way users start them."""

from __future__ import annotations

import pytest
from mixed_records import write_records


@pytest.fixture(scope="session")
def mixed_data(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("mixed") / "data")
