"""What tests of this plugin share."""

import pytest

import diffkit


@pytest.fixture
def compose():
    """Composition of whole configs, where what their defaults name is installed."""
    for plugin in ("image", "nets", "objectives", "samplers", "training"):
        pytest.importorskip(f"diffkit_{plugin}")
    return diffkit.compose
