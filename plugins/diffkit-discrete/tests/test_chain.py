"""Markov chains against the list of all their sequences."""

import torch
from diffkit_discrete import MarkovChain


def test_a_chain_is_a_distribution(world):
    assert torch.allclose(world.data.sum(), torch.ones((), dtype=torch.float64))


def test_draws_follow_the_chain(world):
    x = world.chain.sample(40_000, torch.Generator().manual_seed(0))
    assert (world.frequencies(x) - world.data).abs().sum() / 2 < 0.025


def test_the_exact_denoiser_is_bayes_rule_over_all_sequences(world):
    for lam in (-2.0, 0.1, 3.0):
        joint = world.data[:, None] * world.marginal(lam)  # (clean, noisy)
        at = torch.full((len(world.noisy),), lam, dtype=torch.float64)
        found = world.denoiser().net(world.noisy, at)
        for i in range(4):
            chances = torch.stack([joint[world.clean[:, i] == k].sum(0) for k in range(3)], 1)
            chances = chances / chances.sum(1, keepdim=True)
            assert torch.allclose(found[:, :, i].exp(), chances, atol=1e-12)


def test_a_chain_may_forbid_a_step():
    chain = MarkovChain([1, 1], [[0, 1], [1, 0]], length=3)
    x = chain.sample(50, torch.Generator().manual_seed(0))
    assert (x[:, 1:] != x[:, :-1]).all()
    known = torch.log(torch.tensor([[[1.0, 1, 1], [0, 1, 1]]]))  # the first token is 0
    assert torch.allclose(chain.posterior(known).exp(), torch.tensor([[[1.0, 0, 1], [0, 1, 0]]], dtype=torch.float64))
