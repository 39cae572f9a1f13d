"""No random network computes anything else when its dead units are gone: 50 of them here, 2,000 others by `make fuzz`."""

from __future__ import annotations

from hypothesis import given, settings
from zoo.entry import another, bits, difference, same
from zoo.grammar import Drawn, drawn_networks

from fullscale.prune import remove_dead


@settings(max_examples=max(50, settings().max_examples))
@given(net=drawn_networks)
def test_no_network_computes_anything_else(net: Drawn) -> None:
    example = net.example()
    before = bits(net)
    smaller, _ = remove_dead(net, example=example)
    assert same(before, bits(net))
    for images in (example, another(example, 1)):
        assert difference(net, smaller, images) <= 1e-12
