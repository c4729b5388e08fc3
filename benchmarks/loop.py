"""What the loop around the network costs: diffkit's sampling and training beside hand-written loops.

    python benchmarks/loop.py [--peers] [--json]

Both loops of a pair run in turn, so that a machine that slows down slows both; the figure is the median of the pairs'
ratios. The network is the default recipe's UNet at 32x32; the second table has a network so small that only the loop
remains, and gives the microseconds beyond the bare forward: for each evaluation of the network, and for each step,
which may have several. They are those of any batch but the first, for which what depends on the levels alone is found;
the last column has the milliseconds that this takes for a grid of 1,000 steps.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from diffkit import DataSpec, Denoiser, StepSampler, build, levels
from diffkit.data.stream import BatchStream
from diffkit.training import Trainer

SPEC = DataSpec(channels=3, shape=(32, 32), labels=tuple("0123456789"), std=0.5)
STEPS, SAMPLES, BATCH = 10, 8, 8


class Noise:
    """A data set of noise, in memory."""

    modality = "image"
    spec = SPEC

    def __init__(self) -> None:
        self.x = torch.randn(512, 3, 32, 32, generator=torch.Generator().manual_seed(0)) / 2
        self.labels = torch.arange(512) % 10

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.x[index], int(self.labels[index])


def timed(ours: Callable[[], object], theirs: Callable[[], object], count: int) -> list[tuple[float, float]]:
    """Return ``count`` times of both in seconds, taken in turn."""
    ours(), theirs()
    times = []
    for i in range(count):
        measured = {}
        for function in (ours, theirs) if i % 2 else (theirs, ours):
            began = time.perf_counter()
            function()
            measured[function] = time.perf_counter() - began
        times.append((measured[ours], measured[theirs]))
    return times


def pairs(ours: Callable[[], object], theirs: Callable[[], object], count: int) -> tuple[float, float, float]:
    """Return the median time of each in seconds, and the median ratio of ours to theirs, pair by pair."""
    times = timed(ours, theirs, count)
    return (
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
        statistics.median(a / b for a, b in times),
    )


def sampling(net: nn.Module, count: int) -> dict[str, float]:
    """Time DDIM over a uniform grid, ours and by hand."""
    denoiser = Denoiser(net, "cosine", "edm").eval()
    sampler = build("sampler", "ddim", steps=STEPS)
    noise = torch.randn(SAMPLES, 3, 32, 32)
    label = torch.arange(SAMPLES) % 10
    path = levels(denoiser.schedule, 1 - torch.arange(STEPS, dtype=torch.float64) / STEPS, like=noise)
    scales = [(at.alpha, at.sigma, *denoiser.prediction.coefficients(at.alpha, at.sigma)) for at in path[:-1]]
    lams = [at.tensor.expand(SAMPLES) for at in path]

    @torch.no_grad()
    def by_hand() -> Tensor:
        x = path[0].sigma * noise
        for i, (alpha, sigma, skip, out, inner) in enumerate(scales):
            x0 = skip * x + out * net(inner * x, lams[i], label=label)
            following = path[i + 1]
            x = following.alpha * x0 + following.sigma / sigma * (x - alpha * x0)
        return x

    assert torch.allclose(sampler(denoiser, noise, label=label), by_hand(), atol=1e-3)
    ours, theirs, ratio = pairs(lambda: sampler(denoiser, noise, label=label), by_hand, count)
    return {"ms_per_step": 1e3 * ours / STEPS, "by_hand_ms_per_step": 1e3 * theirs / STEPS, "ratio": ratio}


def training(count: int) -> dict[str, float]:
    """Time training steps, ours and by hand: the same network, loss, optimizer, clipping and average."""
    data, torch_rate = Noise(), 1e-4
    torch.manual_seed(0)
    denoiser = Denoiser(build("net", "unet", spec=SPEC), "cosine", "edm", weighting="edm", spec=SPEC)
    optimizer = build("optim", "adamw", lr=torch_rate)
    trainer = Trainer(denoiser, BatchStream(data, BATCH, 0), optimizer, steps=10**9)
    steps = trainer.run()

    torch.manual_seed(0)
    net = build("net", "unet", spec=SPEC)
    adamw = build("optim", "adamw", lr=torch_rate).create(net)
    average = [p.detach().clone() for p in net.parameters()]
    schedule, prediction = denoiser.schedule, denoiser.prediction
    order = torch.randperm(len(data))
    position = 0

    def by_hand() -> None:
        nonlocal position
        index = order[torch.arange(position, position + BATCH) % len(data)]
        position += BATCH
        x0, label = data.x[index], data.labels[index]
        noise, t = torch.randn_like(x0), torch.rand(BATCH, dtype=torch.float64)
        alpha, sigma, lam = schedule.alpha(t), schedule.sigma(t), schedule.lam(t)
        column = {"alpha": alpha, "sigma": sigma}
        column["skip"], column["out"], column["inner"] = prediction.coefficients(alpha, sigma)
        c = {name: value.float().reshape(-1, 1, 1, 1) for name, value in column.items()}
        noisy = c["alpha"] * x0 + c["sigma"] * noise
        target = (x0 - c["skip"] * noisy) / c["out"]
        adamw.zero_grad(set_to_none=True)
        loss = (net(c["inner"] * noisy, lam.float(), label=label) - target).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adamw.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(net.parameters()), 1e-3)

    net.train()
    ours, theirs, ratio = pairs(lambda: next(steps), by_hand, count)
    steps.close()
    return {"ms_per_step": 1e3 * ours, "by_hand_ms_per_step": 1e3 * theirs, "ratio": ratio}


class Tiny(nn.Module):
    """A network that costs nearly nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x: Tensor, lam: Tensor) -> Tensor:
        return self.layer(x) * lam[:, None]


def overhead(count: int, peers: bool = False) -> dict[str, dict[str, float]]:
    """Return, for every installed sampler, the microseconds that an evaluation and a step cost beyond the bare forward.

    The whole of a sampling in 50 steps, less as many bare forwards as it evaluated, is divided by the evaluations and
    by the steps: a step of two evaluations counts as two evaluations, and as one step. Each time is the least of
    ``count``, since whatever else the machine does only adds to it. ``prepare`` is what a sampler that can prepares for
    1,000 steps, in milliseconds. With ``peers``, diffusers' schedulers take part, and each sampler's cost is also given
    over that of its Euler steps, timed right after it: microseconds are those of a machine and of an hour.
    """
    from diffkit import catalog

    steps, noise, net = 50, torch.randn(16, 16), Tiny()
    denoiser = Denoiser(net, "cosine", "edm").eval()
    lam = torch.zeros(16)
    path = levels(denoiser.schedule, torch.linspace(1, 1e-3, 1000, dtype=torch.float64), like=noise)
    found: dict[str, dict[str, float]] = {"us_per_evaluation": {}, "us_per_step": {}, "ms_to_prepare": {}}
    theirs = of_diffusers(net, noise, steps) if peers else {}
    if peers:
        found["of_diffusers_euler"] = {}

    def beyond(whole: Callable[[], object], evaluations: int) -> float:
        @torch.no_grad()
        def bare() -> None:
            for _ in range(evaluations):
                net(noise, lam)

        measured = timed(whole, bare, count)
        return 1e6 * (min(one for one, _ in measured) - min(other for _, other in measured))

    def measure(name: str, whole: Callable[[], object], evaluations: int) -> None:
        cost = beyond(whole, evaluations)
        found["us_per_evaluation"][name], found["us_per_step"][name] = cost / evaluations, cost / steps
        if peers:
            euler = beyond(theirs["euler of diffusers"], steps) / steps
            found["of_diffusers_euler"][name] = cost / evaluations / euler

    for name in catalog.names("sampler"):
        sampler = build("sampler", name, steps=steps)
        before = denoiser.evaluations
        sampler(denoiser, noise)
        measure(name, partial(sampler, denoiser, noise), denoiser.evaluations - before)
        if isinstance(sampler, StepSampler):
            prepared = timed(partial(sampler.prepare, path), lambda: None, count)
            found["ms_to_prepare"][name] = 1e3 * min(ours for ours, _ in prepared)
    for name, whole in theirs.items():
        measure(name, whole, steps)
    return found


def of_diffusers(net: nn.Module, noise: Tensor, steps: int) -> dict[str, Callable[[], Tensor]]:
    """Return the loops that a user of diffusers writes around its schedulers, by name."""
    import diffusers

    names = {"euler": "EulerDiscrete", "ddim": "DDIM", "dpmpp_2m": "DPMSolverMultistep", "unipc": "UniPCMultistep"}
    schedulers = {f"{name} of diffusers": getattr(diffusers, f"{theirs}Scheduler")() for name, theirs in names.items()}

    @torch.no_grad()
    def whole(scheduler: Any) -> Tensor:
        scheduler.set_timesteps(steps)
        x = noise * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            estimate = net(scheduler.scale_model_input(x, t), t.float().expand(len(x)))
            x = scheduler.step(estimate, t, x).prev_sample
        return x

    return {name: partial(whole, scheduler) for name, scheduler in schedulers.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--peers", action="store_true", help="time the loop around diffusers' schedulers, too")
    parser.add_argument("--pairs", type=int, default=25, help="how many pairs of runs to time")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    net = build("net", "unet", spec=SPEC).eval()
    result = {
        "sampling": sampling(net, arguments.pairs),
        "training": training(arguments.pairs),
        **{f"overhead_{unit}": values for unit, values in overhead(arguments.pairs, arguments.peers).items()},
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    for name in ("sampling", "training"):
        row = result[name]
        print(
            f"{name:9} {row['ms_per_step']:8.2f} ms a step, by hand {row['by_hand_ms_per_step']:8.2f} ms, "
            f"overhead {100 * (row['ratio'] - 1):+.2f} %"
        )
    over = ", over that of diffusers' Euler" if arguments.peers else ""
    print(f"beyond the bare forward of a tiny network, in µs, an evaluation{over}, a step; ms to prepare 1,000 steps:")
    for name, value in result["overhead_us_per_evaluation"].items():
        prepared = result["overhead_ms_to_prepare"].get(name, 0.0)
        ratio = f"{result['overhead_of_diffusers_euler'][name]:6.2f}" if arguments.peers else ""
        print(f"  {name:22} {value:6.1f}{ratio} {result['overhead_us_per_step'][name]:6.1f} {prepared:6.1f}")
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
