"""What tests in the folders below share stands here, in rendering.py and in checks.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

LONG = ("test_valkey_cluster", "test_whichever_command_fails", "test_alerts_fire", "test_checkov")
"""What takes longest: those that mostly wait come first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has long tests begin first, so that none of them is left at the end to run alone."""

    def place(item: pytest.Item) -> int:
        return next((number for number, name in enumerate(LONG) if name in item.nodeid), len(LONG))

    items.sort(key=place)
