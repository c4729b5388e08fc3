"""The example of the README learns the chain."""

import re
from pathlib import Path

import pytest
import torch

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_example_learns_the_chain():
    pytest.importorskip("diffkit_schedules")
    names = {}
    with torch.random.fork_rng(devices=()):
        exec(EXAMPLE, names)
    chain, x = names["chain"], names["x"]
    clean = torch.cartesian_prod(*[torch.arange(3)] * 4)
    exact = chain.log_prob(clean).exp()

    def error(x):
        counts = torch.bincount((x * torch.tensor([27, 9, 3, 1])).sum(1), minlength=81)
        return (counts / len(x) - exact).abs().sum() / 2

    revealed = names["RevealSampler"](4)(names["denoiser"], names["noise"], streams=names["streams"])
    assert error(revealed) < 0.12  # exact draws: 0.05; with no training: 0.47
    assert error(x) < 0.13
    assert abs(names["bound"].mean() - chain.log_prob(x).mean()) < 0.1
