"""Every Python and shell block of the pages is a test; see tests/docs/blocks.py."""

import pytest
from sybil import Sybil

from tests.docs import blocks


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves the pages, whose commands train at full size, to `make test-slow`."""
    for item in items:
        if item.path.suffix == ".md":
            item.add_marker(pytest.mark.slow)


pytest_collect_file = Sybil(
    parsers=blocks.PARSERS,
    patterns=["README.md", "CONTRIBUTING.md", "docs/*.md", "docs/*/*.md"],
    setup=blocks.setup,
    teardown=blocks.teardown,
).pytest()
