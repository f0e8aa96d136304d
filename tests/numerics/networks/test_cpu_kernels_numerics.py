"""Convolutions in their CPU forms against torch's own."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rml_trainers.networks import NETWORKS, build_network
from rml_trainers.networks.accelerate import accelerate
from rml_trainers.networks.accelerate.aspp_product import summed_aspp
from rml_trainers.networks.accelerate.cpu_kernels import FEW_OUTPUTS
from rml_trainers.networks.accelerate.depthwise import depthwise, put_together, taken_apart
from rml_trainers.networks.deeplab_v2 import DeepLabV2, DeepLabV2Config
from rml_trainers.networks.layers import SummedASPP
from rml_trainers.noise.config import NoiseConfig
from tests.support.tiny import NETWORK_CONFIGS

pytestmark = pytest.mark.usefixtures("single_thread")
CPU = torch.device("cpu")


SHAPES = [(12, 16), (7, 5), (3, 4), (1, 9), (2, 1)]
"""Maps that a dilation of 2 or 4 divides and others, wider and narrower than the kernel."""


def results_of(
    maps: Tensor,
    weight: Tensor,
    *,
    ours: bool,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> tuple[Tensor, ...]:
    """The convolution, the gradient of its maps and that of its weights."""
    x = maps.clone().requires_grad_()
    w = weight.clone().requires_grad_()
    if ours:
        y = depthwise(x, w, stride=stride, padding=padding, dilation=dilation)
    else:
        y = functional.conv2d(
            x, w, stride=stride, padding=padding, dilation=dilation, groups=len(w)
        )
    return y.detach(), *torch.autograd.grad(y.square().sum(dtype=torch.float64), (x, w))


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("kernel", [3, 5, 7, 9])
def test_a_depthwise_convolution_that_keeps_the_size(
    size: tuple[int, int], kernel: int, dilation: int
) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 6, *size, dtype=torch.float64)
    weight = torch.randn(6, 1, kernel, kernel, dtype=torch.float64)
    how = {"padding": dilation * (kernel // 2), "dilation": dilation}
    for mine, theirs in zip(
        *(results_of(maps, weight, ours=ours, **how) for ours in (True, False)), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("size", [(9, 12), (5, 6)])
def test_a_depthwise_convolution_with_strides(size: tuple[int, int], padding: int) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 6, *size, dtype=torch.float64)
    weight = torch.randn(6, 1, 5, 5, dtype=torch.float64)
    both = (
        results_of(maps, weight, ours=ours, stride=2, padding=padding) for ours in (True, False)
    )
    for mine, theirs in zip(*both, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("cpu", ["this one", "one that does not multiply bf16"])
@pytest.mark.parametrize(
    "how", [{"padding": 2}, {"padding": 8, "dilation": 4}, {"stride": 2}], ids=str
)
def test_in_bf16_every_gradient_is_as_near_to_the_truth_as_torch_s_own(
    how: dict[str, int], cpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cpu != "this one":
        monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    torch.manual_seed(0)
    maps = torch.randn(4, 16, 12, 16).bfloat16()
    weight = torch.randn(16, 1, 5, 5).bfloat16()
    truth = results_of(maps.double(), weight.double(), ours=False, **how)
    mine, theirs = (results_of(maps, weight, ours=ours, **how) for ours in (True, False))
    for exact, our, their in zip(truth, mine, theirs, strict=True):
        assert our.dtype == torch.bfloat16
        furthest, allowed = ((value.double() - exact).abs().max() for value in (our, their))
        assert furthest <= 1.5 * allowed, "rounded once more than torch does it"


def test_the_gradient_that_nobody_wants_is_not_computed() -> None:
    maps = torch.randn(1, 3, 6, 6)
    weight = torch.randn(3, 1, 3, 3)
    for how in ({"padding": 2, "dilation": 2}, {"padding": 1}, {"stride": 2}):
        for wanted in (
            (maps, weight.clone().requires_grad_()),
            (maps.clone().requires_grad_(), weight),
        ):
            depthwise(wanted[0], wanted[1], **how).sum().backward()  # type: ignore[no-untyped-call]
            assert [x.grad is not None for x in wanted] == [x.requires_grad for x in wanted]


@pytest.mark.parametrize(
    "how", [{"padding": 2}, {"padding": 8, "dilation": 4}, {"stride": 2}], ids=str
)
def test_the_gradient_of_weights_has_their_strides(how: dict[str, int]) -> None:
    """DDP warns where it has not."""
    weight = torch.randn(6, 1, 5, 5).to(memory_format=torch.channels_last).requires_grad_()
    depthwise(torch.randn(2, 6, 9, 12), weight, **how).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None and weight.grad.stride() == weight.stride() == (25, 1, 5, 1)


@pytest.mark.parametrize("size", [(12, 16), (3, 4), (1, 9), (30, 25)])
@pytest.mark.parametrize("rates", [(6, 12, 18, 24), (1, 2)])
def test_aspp_as_one_product(size: tuple[int, int], rates: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    maps = torch.randn(2, 5, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(len(rates), 3, 5, 3, 3, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(len(rates), 3, dtype=torch.float64, requires_grad=True)
    product = summed_aspp(maps, weight, bias, rates)
    branches = (
        functional.conv2d(maps, w, b, padding=r, dilation=r)
        for w, b, r in zip(weight, bias, rates, strict=True)
    )
    convolved = sum(branches, start=torch.zeros(()))
    torch.testing.assert_close(product, convolved, rtol=1e-11, atol=1e-11)
    results = [
        torch.autograd.grad(y.square().sum(), (maps, weight, bias)) for y in (product, convolved)
    ]
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("num_outputs", [FEW_OUTPUTS, FEW_OUTPUTS + 1])
@pytest.mark.parametrize("size", [(5, 9), (13, 7), (3, 2)])
def test_aspp_without_the_taps_that_see_padding_only(
    size: tuple[int, int], num_outputs: int
) -> None:
    """Outputs, and the gradient of those taps, which is zero as if they had seen padding."""
    torch.manual_seed(0)
    plain = SummedASPP(3, num_outputs, (6, 12)).double()
    fast = copy.deepcopy(plain)
    accelerate(fast, CPU)
    maps = torch.randn(2, 3, *size, dtype=torch.float64)
    results = []
    for aspp in (fast, plain):
        y = aspp(maps)
        y.square().sum().backward()
        results.append([y, *(parameter.grad for parameter in aspp.parameters())])
    for ours, reference in zip(*results, strict=True):
        torch.testing.assert_close(ours, reference)


def test_gradients_of_aspp_add_up_over_backward_passes() -> None:
    """As micro-batches add theirs: those of the branches must not share memory."""
    torch.manual_seed(0)
    head = SummedASPP(5, 3, (6, 12))
    accelerate(head, CPU)
    for _ in range(2):
        head(torch.randn(2, 5, 4, 4)).sum().backward()
    for branch in head.convolutions():
        assert branch.bias is not None and branch.bias.grad is not None
        assert torch.equal(branch.bias.grad, torch.full((3,), 64.0))


@pytest.mark.parametrize("size", [(6, 9), (5, 7), (2, 1)])
def test_taking_apart_and_putting_together(size: tuple[int, int]) -> None:
    maps = torch.arange(2 * 3 * size[0] * size[1]).reshape(2, 3, *size).float()
    parts = taken_apart(maps, 3)
    assert torch.equal(put_together(parts, 3, size), maps)
    assert torch.equal(parts[0, :, 0, :], maps[0, :, 0, ::3]), (
        "the first part begins with every third of the first row"
    )
    assert parts.is_contiguous(memory_format=torch.channels_last)


def learnt(network: nn.Module, dtype: torch.dtype) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits and gradients of one forward and backward."""
    images = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0)).to(dtype)
    logits: Tensor = network(images).logits
    logits.square().mean().backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return logits.detach(), gradients


BACKBONES = {
    name: DeepLabV2Config(backbone=name, weights="none")
    for name in ("tf_efficientnet_lite0", "test_resnet")
}


@pytest.mark.parametrize("name", [*NETWORKS, *BACKBONES])
def test_whole_networks_compute_the_same(name: str) -> None:
    """In float64, where rounding cannot hide a difference."""
    torch.manual_seed(0)
    config = {**NETWORK_CONFIGS, **BACKBONES}[name]
    plain = build_network(config, 5, NoiseConfig(model=False)).double()
    fast = copy.deepcopy(plain)
    accelerate(fast, CPU)
    (logits, gradients) = learnt(plain, torch.float64)
    (same_logits, same_gradients) = learnt(fast, torch.float64)
    torch.testing.assert_close(same_logits, logits, rtol=1e-9, atol=1e-12)
    assert list(same_gradients) == list(gradients)
    for key, gradient in gradients.items():
        torch.testing.assert_close(same_gradients[key], gradient, rtol=1e-7, atol=1e-10, msg=key)
    assert list(fast.state_dict()) == list(plain.state_dict())


def test_efficientnets_have_every_kind_and_copies_stay_apart() -> None:
    network = build_network(BACKBONES["tf_efficientnet_lite0"], 5, NoiseConfig(model=False))
    accelerate(network, CPU)
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    changed = [layer for layer in convolutions if "forward" in layer.__dict__]
    assert len(changed) == 13 and all(layer.groups == layer.in_channels for layer in changed)
    assert isinstance(network, DeepLabV2) and "forward" in network.aspp.__dict__
    assert all(layer.dilation == (2, 2) for layer in convolutions if layer.kernel_size == (1, 1))
    twin = copy.deepcopy(network)
    for layer in twin.modules():
        if isinstance(layer, nn.Conv2d) and "forward" in layer.__dict__:
            assert layer.forward.args[0] is layer  # type: ignore[attr-defined]


def test_low_precision_on_a_cpu_goes_through() -> None:
    torch.manual_seed(0)
    network = build_network(BACKBONES["tf_efficientnet_lite0"], 5, NoiseConfig(model=False))
    accelerate(network, CPU)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(torch.rand(2, 3, 32, 48)).logits
    logits.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())
