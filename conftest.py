"""Every Python and shell block of the pages is a test; see tests/docs/blocks.py."""

from sybil import Sybil

from tests.docs import blocks

pytest_collect_file = Sybil(
    parsers=blocks.PARSERS,
    patterns=["README.md", "CONTRIBUTING.md", "docs/*.md", "docs/*/*.md"],
    setup=blocks.setup,
    teardown=blocks.teardown,
).pytest()
