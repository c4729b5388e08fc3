"""Forward processes and their posteriors against matrices and Bayes' rule."""

from math import log

import pytest
import torch
from diffkit_discrete import AbsorbingProcess, Process, UniformProcess

from diffkit import levels_at

K = 3
PROCESSES = {"uniform": UniformProcess(K), "absorbing": AbsorbingProcess(K)}
BETWEEN = [(-9.0, -8.0), (-2.0, -0.3), (0.0, 0.1), (0.5, 9.0), (8.0, float("inf")), (-9.0, float("inf"))]
LIKE = torch.empty((), dtype=torch.float64)


@pytest.fixture(params=PROCESSES)
def process(request):
    return PROCESSES[request.param]


def level(lam):
    return levels_at([lam], like=LIKE)[0]


def lams(*values):
    return torch.tensor(values, dtype=torch.float64)


def stationary(process):
    """π, as what the process is said to be."""
    pi = torch.zeros(process.states, dtype=torch.float64)
    pi[K:] = 1
    return pi if process.states > K else torch.full_like(pi, 1 / K)


def kernel(process, kept):
    """The matrix of a step that keeps a token with probability ``kept``: rows from, columns to."""
    return kept * torch.eye(process.states, dtype=torch.float64) + (1 - kept) * stationary(process)


def keep(lam):
    return torch.sigmoid(2 * torch.as_tensor(lam, dtype=torch.float64))


def likelihood(process, lam):
    """q(x | k), ``(classes, states)``, as the process gives it."""
    x = torch.arange(process.states)[:, None]
    return process.log_likelihood(x, lams(lam).expand(len(x)))[:, :, 0].exp().T


def one_hot(n):
    """Certainty of each class, for tokens alone: ``(classes, classes, 1)``."""
    return torch.eye(n, dtype=torch.float64)[:, :, None]


def test_processes_keep_the_contract(process):
    assert isinstance(process, Process)


def test_the_marginal_is_the_product_of_the_steps_to_it(process):
    path = torch.linspace(9, -9, 40, dtype=torch.float64)
    product = kernel(process, keep(path[0]))
    for now, then in path.unfold(0, 2, 1):
        product = product @ kernel(process, keep(then) / keep(now))
        assert torch.allclose(likelihood(process, then), product[:K], atol=1e-13)


def test_the_marginal_follows_the_rates_of_continuous_time(process):
    """dq/dλ = -2 (1 - a) (π - q), integrated as a matrix exponential: a falls as ∫ 2 (1 - a) dλ says."""
    generator = stationary(process) - torch.eye(process.states, dtype=torch.float64)
    grid = torch.linspace(1.5, -1.5, 2001, dtype=torch.float64)
    middles = (grid[1:] + grid[:-1]) / 2
    passed = (2 * (1 - keep(middles)) * 3 / 2000).sum()
    product = kernel(process, keep(1.5)) @ torch.matrix_exp(passed * generator)
    assert torch.allclose(likelihood(process, -1.5), product[:K], atol=1e-6)


@pytest.mark.parametrize(("now", "then"), BETWEEN)
def test_the_posterior_is_bayes_rule(process, now, then):
    before, after = kernel(process, keep(then)), kernel(process, keep(now) / keep(then))
    for x in range(process.states):
        joint = before[:K] * after[:, x]  # (k, s)
        possible = joint.sum(1) > 0
        tokens = torch.full((K, 1), x)
        found = process.posterior(tokens, one_hot(K), level(now), level(then))[:, :, 0]
        exact = joint / joint.sum(1, keepdim=True)
        assert torch.allclose(found[possible], exact[possible], atol=1e-10)


@pytest.mark.parametrize(("now", "then"), BETWEEN)
def test_the_posterior_of_uncertain_tokens_is_the_mean_of_the_certain_ones(process, now, then):
    p = torch.rand(7, K, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = p / p.sum(1, keepdim=True)
    x = torch.randint(process.states, (7, 5), generator=torch.Generator().manual_seed(1))
    at = level(now), level(then)
    certain = torch.eye(K, dtype=torch.float64)
    parts = [process.posterior(x, certain[k].reshape(1, K, 1).expand_as(p), *at) for k in range(K)]
    mean = sum(p[:, k : k + 1] * part for k, part in enumerate(parts))
    found = process.posterior(x, p, *at)
    assert torch.allclose(found, mean, atol=1e-12)
    assert torch.allclose(found.sum(1), torch.ones(7, 5, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("lam", [-8.0, -1.0, 0.0, 2.0, 8.0])
def test_the_divergence_is_that_of_the_rates(process, lam):
    """Enumerates the reversed rates 2 (1 - a) π_x q(y | k) / q(x | k), from x to y, for every x and x_0."""
    a, q = keep(lam), likelihood(process, lam)
    log_p = torch.randn(K, generator=torch.Generator().manual_seed(0), dtype=torch.float64).log_softmax(0)
    for x0 in range(K):
        for x in (q[x0] > 0).nonzero()[:, 0].tolist():
            # A state that shows has come from x_0 alone: no other k is possible there.
            possible = (q[:, x] > 0) * log_p.exp()
            p = possible / possible.sum()
            share = torch.where(q[:, x : x + 1] > 0, q / q[:, x : x + 1], 0)
            rates = 2 * (1 - a) * stationary(process)[x] * share
            model, true = p @ rates, rates[x0]
            terms = model - true + torch.special.xlogy(true, true / model.clamp(min=1e-300))
            exact = terms[torch.arange(process.states) != x].sum()
            tokens = torch.tensor([[x0]]), torch.tensor([[x]])
            found = process.divergence(*tokens, log_p.reshape(1, K, 1), lams(lam))
            assert torch.allclose(found.squeeze(), exact, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("lam", [-100.0, -20.0, 20.0, 100.0])
def test_float32_holds_at_the_ends_of_all_schedules(process, lam):
    x0 = torch.arange(K)[:, None].expand(K, process.states).reshape(-1, 1)
    x = torch.arange(process.states).repeat(K)[:, None]
    logits = torch.linspace(-60, 60, K)[None, :, None].expand(len(x), K, 1).clone().requires_grad_()
    at = torch.full((len(x),), lam)
    divergence = process.divergence(x0, x, logits.log_softmax(1), at)
    divergence.sum().backward()
    assert divergence.isfinite().all()
    assert divergence.min() > -1e-6
    assert logits.grad.isfinite().all()
    chances = process.posterior(x, logits.detach().softmax(1), level(lam - 0.5), level(lam))
    assert torch.allclose(chances.sum(1), torch.ones(len(x), 1), atol=1e-5)


def test_corrupted_tokens_follow_the_marginal(process):
    n, lam = 30_000, 0.3
    g = torch.Generator().manual_seed(0)
    x0 = torch.arange(K).repeat(n)[:, None]
    x = process.corrupt(x0, keep(lam).expand(len(x0)), torch.randn(len(x0), 2, 1, generator=g))
    counts = torch.zeros(K, process.states).index_put_((x0[:, 0], x[:, 0]), torch.ones(()), accumulate=True)
    assert torch.allclose(counts.double() / n, likelihood(process, lam), atol=4 * (0.25 / n) ** 0.5)


def test_the_start_is_what_is_left_of_no_token(process):
    x = process.start(torch.randn(30_000, 2, generator=torch.Generator().manual_seed(0)))
    counts = torch.bincount(x.flatten(), minlength=process.states) / x.numel()
    assert torch.allclose(counts.double(), stationary(process), atol=0.01)


def test_masks_alone_are_uncertain():
    """The bound of masked tokens is the cross entropy: at p = 1/K, 2a log K for each."""
    process = AbsorbingProcess(K)
    x0, x = torch.zeros(1, K, dtype=torch.long), torch.tensor([[0, 3, 3]])
    flat = torch.full((1, K, K), -log(K), dtype=torch.float64)
    found = process.divergence(x0, x, flat, lams(0.0))
    assert torch.allclose(found, torch.tensor([[0.0, log(K), log(K)]], dtype=torch.float64))
