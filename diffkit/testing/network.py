"""The checks a network passes."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from diffkit.contracts.network import ConditionSpec, DataSpec
from diffkit.errors import DiffkitError

SHAPES = {1: ((16,), (13,)), 2: ((8, 8), (7, 5)), 3: ((4, 8, 8), (3, 5, 7))}
"""By rank, a convenient shape and an odd one."""
LABELS = ("a", "b", "c")
CONDITIONS = (
    ConditionSpec("style", "classes", 2),
    ConditionSpec("pose", "values", 3),
    ConditionSpec("caption", "sequence", 5, length=4),
    ConditionSpec("sketch", "map", 2),
)
"""One of each kind."""
BATCH = 4


def check_network(
    network: Callable[..., nn.Module],
    *,
    ranks: Sequence[int] = (1, 2, 3),
    odd: bool = True,
    conditions: bool = True,
    **options: Any,
) -> None:
    """Raise ``AssertionError``, with a sentence that says what is wrong, unless ``network`` keeps its contract.

    For every rank, a convenient and an odd shape, one and three channels, with and without labels, the network is
    built, perturbed (so that what starts as zero takes part) and called. Its output has the shape and dtype of the
    input and is finite, at extreme noise levels too; it depends on x, on λ, and on the label where there are any, and
    a missing label means the null label; every parameter has an axis, gets a gradient, and is left alone, as is the
    input; evaluated, an item's output depends neither on the rest of the batch nor on chance; a state dict carries
    everything over. One that says
    ``per_frame`` takes a level for each frame, and the same for all is that of the clip. At a rank
    that is not in ``ranks``, the network raises :class:`~diffkit.DiffkitError`.

    For the convenient shape it is also told one condition of each kind beside the label. The output depends on each;
    one that is not passed means the same as a missing one; an item of which conditions are missing gives a finite
    output that does not depend on the others in its batch, trained or evaluated.

    Args:
        network: the class, or a function that takes a ``spec`` and ``options`` and returns a module.
        ranks: the ranks it is for.
        odd: whether it is for odd sizes as well.
        conditions: whether it takes conditions besides the label.
        options: its options, where not the defaults; small ones make the checks fast.
    """
    name = getattr(network, "__name__", type(network).__name__)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for rank, shapes in SHAPES.items():
            if rank not in ranks:
                _check_refusal(network, DataSpec(1, shapes[0]), options, name)
                continue
            for i, shape in enumerate(shapes if odd else shapes[:1]):
                where = f"{name} for {(1, 3)[i]} x {' x '.join(map(str, shape))}"
                for labels in ((), LABELS):
                    spec = DataSpec((1, 3)[i], shape, labels)
                    _check_one(network, spec, options, where + (" with labels" if labels else ""))
                if conditions and i == 0:
                    spec = DataSpec(1, shape, LABELS, conditions=CONDITIONS)
                    _check_one(network, spec, options, where + " with conditions")


def _check_refusal(network: Callable[..., nn.Module], spec: DataSpec, options: dict[str, Any], name: str) -> None:
    try:
        network(spec=spec, **options)
    except DiffkitError:
        return
    except Exception as error:
        raise AssertionError(
            f"{name} raises {type(error).__name__} for data of rank {spec.rank}, which it is not for; raise "
            f"DiffkitError with a sentence that says which ranks it takes"
        ) from error
    raise AssertionError(f"{name} accepts data of rank {spec.rank}; add {spec.rank} to ranks, or raise DiffkitError")


def _check_one(network: Callable[..., nn.Module], spec: DataSpec, options: dict[str, Any], where: str) -> None:
    net = network(spec=spec, **options)
    assert isinstance(net, nn.Module), f"{where} is a {type(net).__name__}, not a torch.nn.Module"
    assert getattr(net, "spec", None) == spec, f"{where} does not keep its spec; set self.spec = spec"
    _perturb(net)
    net.eval()
    x = torch.randn(BATCH, spec.channels, *spec.shape)
    lam = torch.tensor([-3.0, -1.0, 0.5, 2.0])
    cond = {"label": torch.tensor([0, 1, 2, 1])} if spec.labels else {}
    cond |= {one.name: _known(one, spec) for one in spec.conditions}
    _check_output(net, x, lam, cond, where)
    _check_dependence(net, x, lam, cond, where)
    _check_independence(net, x, lam, cond, where)
    _check_frames(net, x, lam, cond, where)
    _check_conditions(net, x, lam, cond, where)
    _check_gradients(net, x, lam, cond, where)
    _check_state(net, network(spec=spec, **options), x, lam, cond, where)


def _known(one: ConditionSpec, spec: DataSpec) -> Tensor:
    null = one.null(spec.shape, BATCH)
    return torch.arange(BATCH) % one.size if one.kind == "classes" else torch.randn_like(null)


def _missing(cond: dict[str, Tensor], spec: DataSpec) -> dict[str, Tensor]:
    missing = {one.name: one.null(spec.shape, BATCH) for one in spec.conditions}
    return {**missing, "label": torch.full((BATCH,), len(spec.labels))} if "label" in cond else missing


def _perturb(net: nn.Module) -> None:
    """Move every parameter a little: what starts as zero would hide everything behind it."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@torch.no_grad()
def _check_output(net: nn.Module, x: Tensor, lam: Tensor, cond: dict[str, Tensor], where: str) -> None:
    before = x.clone()
    y = net(x, lam, **cond)
    assert y.shape == x.shape, (
        f"{where} returns {tuple(y.shape)} for {tuple(x.shape)}; the output has the input's shape"
    )
    assert y.dtype == x.dtype, f"{where} returns {y.dtype} for {x.dtype}; the output has the dtype of the input"
    assert torch.equal(x, before), f"{where} changes its input in place; it has to leave it as it was"
    for extreme in (-20.0, -10.0, 10.0, 20.0):
        y = net(x, torch.full_like(lam, extreme), **cond)
        assert y.isfinite().all(), f"{where} returns NaN or infinity at λ={extreme:g}"


@torch.no_grad()
def _check_dependence(net: nn.Module, x: Tensor, lam: Tensor, cond: dict[str, Tensor], where: str) -> None:
    y = net(x, lam, **cond)
    assert _differ(y, net(torch.randn_like(x), lam, **cond)), f"{where} does not depend on x"
    assert _differ(y, net(x, lam + 1, **cond)), f"{where} does not depend on λ; embed lam"
    if "label" not in cond:
        return
    label, null = cond["label"], torch.full_like(cond["label"], len(LABELS))
    others = {key: value for key, value in cond.items() if key != "label"}
    other = net(x, lam, label=(label + 1) % len(LABELS), **others)
    assert _differ(y, other), f"{where} does not depend on the label"
    free = net(x, lam, label=null, **others)
    assert _differ(y, free), (
        f"{where} returns the same for a label and for the null label, {len(LABELS)}; give the latter its own row"
    )
    assert torch.allclose(free, net(x, lam, **others), atol=1e-5), (
        f"{where} returns something else without a label than for the null label, {len(LABELS)}; both mean any class"
    )


@torch.no_grad()
def _check_independence(net: nn.Module, x: Tensor, lam: Tensor, cond: dict[str, Tensor], where: str) -> None:
    y = net(x, lam, **cond)
    assert torch.equal(y, net(x, lam, **cond)), f"{where} returns something else the second time, though in eval mode"
    alone = net(x[1:2], lam[1:2], **{key: value[1:2] for key, value in cond.items()})
    assert _close(alone, y[1:2]), (
        f"{where} returns something else for an item alone than in a batch, though in eval mode; no item may depend on "
        f"another (batch norm makes it so)"
    )
    level = lam[1:2].expand(BATCH)
    assert _close(net(x, level, **cond), net(x, level.clone(), **cond)), (
        f"{where} returns something else where lam is expanded from one number, as samplers pass it"
    )


@torch.no_grad()
def _check_frames(net: nn.Module, x: Tensor, lam: Tensor, cond: dict[str, Tensor], where: str) -> None:
    if not getattr(net, "per_frame", False):
        return
    frames = lam[:, None].expand(-1, x.shape[2])
    y = net(x, frames, **cond)
    assert _close(y, net(x, lam, **cond)), f"{where} returns something else for one level a frame where all are equal"
    changed = net(x, frames + torch.arange(x.shape[2]) % 2, **cond)
    assert _differ(y, changed), f"{where} says per_frame, but does not depend on the levels of single frames"


def _check_conditions(net: nn.Module, x: Tensor, lam: Tensor, cond: dict[str, Tensor], where: str) -> None:
    spec: Any = net.spec
    missing = _missing(cond, spec)
    with torch.no_grad():
        y = net(x, lam, **cond)
        for one in spec.conditions:
            others = {key: value for key, value in cond.items() if key != one.name}
            free = net(x, lam, **others, **{one.name: missing[one.name]})
            assert free.isfinite().all(), f"{where} returns NaN or infinity where '{one.name}' is missing"
            assert _differ(y, free), f"{where} does not depend on the condition '{one.name}', of kind {one.kind}"
            assert _close(free, net(x, lam, **others)), (
                f"{where} returns something else without '{one.name}' than where it is missing; both mean any"
            )
            changed = {**others, one.name: cond[one.name].flip(0)}
            assert not torch.equal(y, net(x, lam, **changed)), (
                f"{where} tells only whether '{one.name}' is missing, not what it is"
            )
            mixed = cond[one.name].clone()
            mixed[1] = missing[one.name][1]
            both = net(x, lam, **others, **{one.name: mixed})
            assert _close(both, torch.stack((y[0], free[1], *y[2:]))), (
                f"{where} mixes items of which '{one.name}' is missing with others in the batch"
            )
    if spec.conditions:
        net.train()
        some = {key: torch.cat((value[:2], missing[key][2:])) for key, value in cond.items()}
        assert net(x, lam, **some).isfinite().all(), f"{where} returns NaN or infinity in training mode"
        net.eval()


def _check_gradients(net: nn.Module, x: Tensor, lam: Tensor, cond: dict[str, Tensor], where: str) -> None:
    net.train()
    before = {key: parameter.detach().clone() for key, parameter in net.named_parameters()}
    y = net(x, lam, **cond)
    assert y.isfinite().all(), f"{where} returns NaN or infinity in training mode"
    net.eval()
    for key, parameter in net.named_parameters():
        assert torch.equal(parameter, before[key]), (
            f"{where} changes parameter {key} as it is called, which is lost where parameters are in shards; do it in "
            f"constrain(), which is called after each step"
        )
        assert parameter.ndim, f"{where}: parameter {key} has no axis to divide among ranks; make it torch.zeros(1)"
    # the null label's row, and whatever else guidance needs, is trained by items whose label was dropped
    nulls: dict[str, Tensor] = _missing(cond, net.spec)  # type: ignore[arg-type]
    target = torch.randn_like(x)
    ((net(x, lam, **cond) - target).square().mean() + (net(x, lam, **nulls) - target).square().mean()).backward()
    for key, parameter in net.named_parameters():
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None, f"{where}: parameter {key} gets no gradient; use it in forward, or remove it"
        assert parameter.grad.isfinite().all(), f"{where}: the gradient of parameter {key} is not finite"
        assert parameter.grad.any(), f"{where}: the gradient of parameter {key} is zero; use it, or freeze it"


@torch.no_grad()
def _check_state(net: nn.Module, other: nn.Module, x: Tensor, lam: Tensor, cond: dict[str, Tensor], where: str) -> None:
    other.load_state_dict(net.state_dict())
    other.eval()
    assert _close(net(x, lam, **cond), other(x, lam, **cond)), (
        f"{where} returns something else after its state dict is loaded into a new one; register what it depends on as "
        f"parameters or buffers"
    )


def _differ(a: Tensor, b: Tensor) -> bool:
    """Whether every item of the batch differs."""
    return bool(((a - b).flatten(1).abs().amax(1) > 1e-6).all())


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-3, atol=1e-4)
