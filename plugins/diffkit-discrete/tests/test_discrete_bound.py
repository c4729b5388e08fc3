"""The loss and the bound against the chain's exact probabilities."""

import pytest
import torch
from diffkit_discrete import DiscreteDenoiser, UniformProcess, elbo
from diffkit_discrete.levels import bound_weight

from diffkit import DiffkitError, Streams, generator, levels_at
from diffkit.testing.sampler import SCHEDULES

LIKE = torch.empty((), dtype=torch.float64)


def test_the_bound_of_the_exact_denoiser_is_the_likelihood_of_every_sequence(world):
    assert torch.allclose(world.bound(world.denoiser()), -world.data.log(), rtol=0, atol=1e-8)


def test_the_bound_of_another_denoiser_is_above_what_its_samples_say(world):
    """The limit of infinitely many steps by extrapolation from 64 and 128, where the error is of order one."""
    denoiser = world.denoiser(error=1)
    few, many = world.output(denoiser, 64), world.output(denoiser, 128)
    nll = -(2 * many - few).log()
    gap = world.bound(denoiser) - nll
    assert gap.min() > 0.05


@pytest.mark.parametrize("lam", [-2.0, 0.3, 2.0])
def test_the_loss_is_least_at_the_exact_posterior(world, lam):
    at = torch.full((len(world.noisy),), lam, dtype=torch.float64)
    exact = world.denoiser().net(world.noisy, at)
    exact = exact.masked_fill(exact.isinf(), 0.0)  # tokens that show, of which nothing is asked
    joint = world.data[:, None] * world.marginal(lam)

    def expected(logits):
        return (joint * world.divergences(logits.log_softmax(1), lam)).sum()

    logits = exact.clone().requires_grad_()
    least = expected(logits)
    least.backward()
    assert logits.grad.abs().max() < 1e-12
    for seed in range(5):
        g = torch.Generator().manual_seed(seed)
        moved = exact + 0.3 * torch.randn(exact.shape, generator=g, dtype=torch.float64)
        assert expected(moved) > least + 1e-4


def test_the_loss_is_the_bound_a_token_in_the_mean(world):
    n = 20_000
    x0 = world.chain.sample(n, torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)
        losses = world.denoiser().losses(x0)
    entropy = -(world.data * world.data.log()).sum()
    assert abs(losses.mean() - entropy / 4) < 4 * losses.std() / n**0.5
    assert losses.std() / n**0.5 < 0.02 * entropy


def test_the_loss_is_the_same_under_every_schedule(world):
    x0, keep = world.clean, torch.linspace(0.01, 0.99, 81, dtype=torch.float64)
    x = world.process.corrupt(x0, keep, torch.randn(81, 2, 4, generator=torch.Generator().manual_seed(0)))
    losses = [world.denoiser(schedule, error=1).losses(x0, keep=keep, x=x) for schedule in SCHEDULES]
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(losses[0], losses[2])


def test_every_item_sees_all_levels_and_a_batch_is_spread_over_them(world):
    denoiser = world.denoiser()
    draws = torch.stack([denoiser.draw_keep(10, generator(0, "keep", step)) for step in range(2000)])
    u = (1 - draws).sqrt()
    assert torch.allclose(u.mean(0), torch.full((10,), 0.5, dtype=torch.float64), atol=0.03)
    spread = u.sort(1).values.diff(dim=1)
    assert torch.allclose(spread, torch.full_like(spread, 0.1))


def test_an_estimate_varies_half_as_much_as_one_with_a_drawn_uniformly(world):
    """Second moments by enumeration, of levels drawn with density p(λ); with a uniform it is 2 a (1 - a)."""
    step, denoiser, parts = 0.25, world.denoiser(), []
    path = levels_at(torch.arange(-13, 13, step).tolist(), like=LIKE)
    for at in path:
        squares = world.divergences(denoiser(world.noisy, at), at.lam).square()
        parts.append((world.data[:, None] * world.marginal(at.lam) * squares).sum())
    lam = torch.stack([at.tensor for at in path])
    keep, rest = torch.sigmoid(2 * lam), torch.sigmoid(-2 * lam)
    moments = torch.stack(parts) * step
    ours, uniform = (moments * bound_weight(keep)).sum(), (moments / (2 * keep * rest)).sum()
    mean = -(world.data * world.data.log()).sum()
    assert (ours - mean**2).sqrt() < 0.5 * (uniform - mean**2).sqrt()
    assert torch.allclose((step / bound_weight(keep)).sum(), torch.ones((), dtype=torch.float64), atol=1e-4)


def test_the_elbo_is_the_likelihood_for_the_exact_denoiser(world):
    x0 = world.chain.sample(200, torch.Generator().manual_seed(0))
    found = elbo(world.denoiser(), x0, draws=100, streams=Streams(0, range(200)))
    error = found - world.chain.log_prob(x0)
    assert abs(error.mean()) < 4 * error.std() / 200**0.5
    assert error.std() / 200**0.5 < 0.05


def test_the_elbo_of_an_item_does_not_depend_on_those_beside_it(world):
    x0 = world.clean[10:15]
    together = elbo(world.denoiser(), x0, draws=8, streams=Streams(0, range(5)))
    alone = elbo(world.denoiser(), x0[3:4], draws=8, streams=Streams(0, [3]))
    assert torch.equal(together[3:4], alone)


class Flat(torch.nn.Module):
    """Knows nothing, for any shape and any number of axes; notes what it is told."""

    def __init__(self, classes):
        super().__init__()
        self.bias = torch.nn.Parameter(torch.zeros(classes))

    def forward(self, x, lam, label=None):
        self.told = lam, label
        return self.bias.reshape(1, -1, *[1] * (x.ndim - 1)).expand(len(x), -1, *x.shape[1:])


def test_tokens_may_have_axes_and_any_integer_type_and_conditions_reach_the_network():
    net = Flat(256)
    denoiser = DiscreteDenoiser(net, SCHEDULES[0], UniformProcess(256))
    pictures = torch.randint(256, (6, 8, 8), dtype=torch.uint8)
    label = torch.arange(6)
    denoiser.loss(pictures, label=label).backward()
    assert net.bias.grad.isfinite().all()
    assert net.told[0].shape == (6,)
    assert net.told[1] is label
    denoiser(pictures.long(), 0.5)
    assert torch.allclose(net.told[0], SCHEDULES[0].lam(torch.tensor(0.5)))


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (torch.rand(2, 4), "tokens are integers"),
        (torch.tensor([[0, 3]]), "give it classes=4"),
        (torch.tensor([[-1, 2]]), "number them from 0"),
    ],
)
def test_what_is_no_token_is_refused(tokens, said):
    with pytest.raises(DiffkitError, match=said):
        DiscreteDenoiser(Flat(3), SCHEDULES[0], UniformProcess(3)).loss(tokens)


def test_other_mistakes_are_refused():
    with pytest.raises(DiffkitError, match="2 or more"):
        UniformProcess(1)
    with pytest.raises(DiffkitError, match=r"has to return logits \(2, 3, 4\)"):
        DiscreteDenoiser(Flat(5), SCHEDULES[0], UniformProcess(3)).loss(torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(DiffkitError, match="draws=0"):
        elbo(DiscreteDenoiser(Flat(3), SCHEDULES[0], UniformProcess(3)), torch.zeros(2, 4, dtype=torch.long), draws=0)
