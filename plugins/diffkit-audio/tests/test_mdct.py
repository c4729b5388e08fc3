import math

import pytest
import torch
from diffkit_audio import MDCT

from diffkit import DataSpec, DiffkitError


@pytest.mark.parametrize(("channels", "length", "bands"), [(1, 4096, 32), (2, 1000, 64), (1, 100, 100), (3, 7, 2)])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_decoding_is_exact(channels, length, bands, power):
    mdct = MDCT(DataSpec(channels, (length,), ("a", "b"), rate=8000.0), bands, power)
    x = torch.rand(4, channels, length) * 2 - 1
    z = mdct.encode(x)
    assert z.shape == (4, mdct.latent.channels, *mdct.latent.shape)
    assert mdct.latent.labels == ("a", "b")
    torch.testing.assert_close(mdct.decode(z), x, rtol=0, atol=2e-6)


def test_without_compression_energy_is_kept():
    mdct = MDCT(DataSpec(1, (4096,), rate=8000.0), 64, power=1.0)
    x = torch.randn(2, 1, 4096)
    torch.testing.assert_close(mdct.encode(x).square().sum((1, 2)), x.square().sum((1, 2)))


def test_a_tone_lies_in_its_band():
    bands = 64
    mdct = MDCT(DataSpec(1, (8000,), rate=8000.0), bands, power=1.0)
    tone = torch.sin(2 * math.pi * 1020 * torch.arange(8000) / 8000)
    energy = mdct.encode(tone[None, None])[0].square().sum(1)
    band = int(1020 / 4000 * bands)
    assert energy.argmax() == band
    assert energy[band - 2 : band + 3].sum() > 0.99 * energy.sum()


def test_compression_quietens_small_errors():
    mdct = MDCT(DataSpec(1, (512,), rate=8000.0), 32, power=0.5)
    error = 0.01 * torch.randn(1, 32, 16)
    assert mdct.decode(error).abs().max() < 0.1 * MDCT(mdct.spec, 32, power=1.0).decode(error).abs().max()


@pytest.mark.parametrize(
    ("spec", "options", "says"),
    [
        (DataSpec(3, (8, 8)), {}, "2 axes"),
        (DataSpec(1, (100,)), {"bands": 7}, "bands=7"),
        (DataSpec(1, (100,)), {"bands": 102}, "bands=102"),
        (DataSpec(1, (100,)), {"power": 0.0}, "power=0"),
        (DataSpec(1, (100,)), {"power": 2.0}, "power=2"),
    ],
)
def test_options_out_of_range_are_refused(spec, options, says):
    with pytest.raises(DiffkitError, match=says):
        MDCT(spec, **options)
