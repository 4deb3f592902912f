"""Everything that torch does to a plain model, it does to an accelerated one, with the same result."""

import copy
import io
import pickle
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from inkpunk_winograd import accelerate, changes, explain, restore
from torch import Tensor, fx, nn
from torch.autograd import forward_ad
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import fusion, parametrizations, parametrize, prune
from torch.overrides import TorchFunctionMode
from torch.utils import mkldnn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

ROUNDING = 2e-5  # relative to the largest value: float32 through five layers, their sums in another order

pytestmark = pytest.mark.usefixtures("by_onednn", "two_threads")  # so that every change acts

Model = nn.Module
Told = Any  # tensors, or what else is to be equal


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        each = self.query_key_value(tokens).view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = each.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value)
        return self.out(seen.transpose(1, 2).reshape(batch, count, width))


class Small(nn.Module):
    """One of everything that is accelerated, of sizes at which it is."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 64, 3, padding=1, stride=2)
        self.conv = nn.Conv2d(64, 64, 3, padding=1)
        self.norm = nn.BatchNorm2d(64)
        self.attention = Attention(64, 4)
        self.last = nn.Linear(64, 5)

    def forward(self, image: Tensor) -> Tensor:
        image = F.relu(self.norm(self.conv(self.first(image))))
        tokens = F.avg_pool2d(image, 4).flatten(2).transpose(1, 2)
        return self.last(self.attention(tokens))


def make() -> Small:
    torch.manual_seed(0)
    model = Small().eval()
    model.norm.running_mean.normal_()
    return model


def image(seed: int = 1, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 64, 48, generator=torch.Generator().manual_seed(seed))


def many_channels() -> Tensor:
    """An input of the inner convolution."""
    return image().repeat(1, 22, 1, 1)[:, :64]


def frozen(model: Model) -> Model:
    return model.requires_grad_(False)


TRANSFORMATIONS: dict[str, Callable[[Model], Told]] = {}


def transformation(name: str) -> Callable[[Callable[[Model], Told]], Callable[[Model], Told]]:
    def note(told: Callable[[Model], Told]) -> Callable[[Model], Told]:
        TRANSFORMATIONS[name] = told
        return told

    return note


# -- Recorded and compiled -----------------------------------------------------------------------------------------


@transformation("jit.trace")
def traced(model: Model) -> Told:
    graph = torch.jit.trace(frozen(model), image(1))
    return [graph(image(seed)) for seed in (1, 2, 3)], str(graph.inlined_graph).count("aten::_convolution")


@transformation("jit.script")
def scripted(model: Model) -> Told:
    return torch.jit.script(model)(image())


@transformation("jit.freeze")
def jit_frozen(model: Model) -> Told:
    return torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.script(model)))(image())


@transformation("onnx.export, the older one")
def onnx_exported(model: Model) -> Told:
    import onnx

    file = io.BytesIO()
    torch.onnx.export(frozen(model), (image(),), file, dynamo=False)
    return Counter(node.op_type for node in onnx.load_from_string(file.getvalue()).graph.node)


@transformation("export")
def exported(model: Model) -> Told:
    program = torch.export.export(model, (image(),))
    return program.module()(image(2)), Counter(
        str(node.target) for node in program.graph.nodes if node.op != "placeholder"
    )


@transformation("compile, whole graph")
def compiled(model: Model) -> Told:
    torch._dynamo.reset()
    return torch.compile(frozen(model), backend="aot_eager", fullgraph=True)(image())


@transformation("compile, with gradients")
def compiled_with_gradients(model: Model) -> Told:
    torch._dynamo.reset()
    torch.compile(model, backend="aot_eager")(image()).square().sum().backward()
    return gradients(model)


for mode in ("real", "fake", "symbolic"):

    @transformation(f"make_fx, {mode}")
    def proxied(model: Model, mode: str = mode) -> Told:
        graph = make_fx(frozen(model), tracing_mode=mode, _allow_non_fake_inputs=True)(image())
        return graph(image(2)), Counter(
            str(node.target) for node in graph.graph.nodes if node.op == "call_function"
        )


@transformation("make_fx, pre-dispatch")
def proxied_before_dispatch(model: Model) -> Told:
    graph = make_fx(frozen(model), pre_dispatch=True)(image())
    return graph(image(2)), sum("conv" in str(node.target) for node in graph.graph.nodes)


@transformation("fx.symbolic_trace")
def symbolic(model: Model) -> Told:
    graph = fx.symbolic_trace(model)
    return graph(image()), [str(node) for node in graph.graph.nodes]


@transformation("fx, transformed by an interpreter")
def interpreted(model: Model) -> Told:
    return fx.Interpreter(fx.symbolic_trace(model)).run(image())


@transformation("torchvision's feature extractor")
def features(model: Model) -> Told:
    from torchvision.models.feature_extraction import create_feature_extractor

    return [*create_feature_extractor(model, ["conv", "attention.out"])(image()).values()]


@transformation("fx, batch norm fused")
def fused_by_fx(model: Model) -> Told:
    from torch.fx.experimental.optimization import fuse

    return fuse(model)(image())


# -- Differentiated and vectorised ---------------------------------------------------------------------------------


def gradients(model: Model) -> list[Tensor]:
    return [weight.grad for weight in model.parameters()]


@transformation("backward")
def backward(model: Model) -> Told:
    model(image()).square().sum().backward()
    return gradients(model)


@transformation("backward to the input alone")
def backward_to_the_input(model: Model) -> Told:
    x = image().requires_grad_()
    frozen(model)(x).square().sum().backward()
    return x.grad


@transformation("backward twice")
def backward_twice(model: Model) -> Told:
    x = image().requires_grad_()
    [first] = torch.autograd.grad(math_attention(frozen(model), x).pow(3).sum(), x, create_graph=True)
    return torch.autograd.grad(first.square().sum(), x)[0]


@transformation("checkpoint")
def checkpointed(model: Model) -> Told:
    checkpoint(model, image().requires_grad_(), use_reentrant=False).square().sum().backward()
    return gradients(model)


@transformation("forward-mode derivatives")
def forward_mode(model: Model) -> Told:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(image(), image(2))
        return forward_ad.unpack_dual(math_attention(frozen(model), dual)).tangent


@transformation("forward-mode derivatives by a weight")
def forward_mode_by_a_weight(model: Model) -> Told:
    frozen(model)
    with torch.no_grad(), forward_ad.dual_level():
        weight = model.conv.weight
        dual = {"conv.weight": forward_ad.make_dual(weight.detach(), torch.ones_like(weight))}
        return forward_ad.unpack_dual(math_attention(partial(functional_call, model, dual), image())).tangent


def math_attention(model: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """With the attention that torch can differentiate in every way."""
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return model(x)


def derivatives(by: Callable[[Callable[[Tensor], Tensor]], Told]) -> Callable[[Model], Told]:
    return lambda model: by(partial(first_numbers, frozen(model)))


def first_numbers(model: Model, x: Tensor) -> Tensor:
    return math_attention(model, x)[:, 0, :2].sum(0)


def one_by_one(model: Model, x: Tensor) -> Tensor:
    return model(x[None])[0]


small = image(1, 1)[..., :32, :32]
TRANSFORMATIONS |= {
    "func.jvp": derivatives(lambda call: jvp(call, (image(),), (image(2),))),
    "func.vjp": derivatives(lambda call: vjp(call, image())[1](torch.ones(2))),
    "func.linearize": derivatives(lambda call: linearize(call, image())[1](image(2))),
    "func.grad": derivatives(lambda call: grad(lambda x: call(x).sum())(image())),
    "func.jacrev": derivatives(lambda call: jacrev(call)(small)),
    "func.jacfwd": derivatives(lambda call: jacfwd(lambda shift: call(small + shift))(torch.zeros(3, 1, 1))),
    "func.hessian": derivatives(
        lambda call: hessian(lambda shift: call(small + shift))(torch.zeros(3, 1, 1))
    ),
    "func.vmap": lambda model: vmap(frozen(model))(torch.stack([image(1), image(2)])),
    "func.vmap of one image": lambda model: vmap(partial(one_by_one, frozen(model)))(image()),
    "func.functionalize": lambda model: torch.func.functionalize(frozen(model))(image()),
}


@transformation("func.vmap over models")
def ensemble(model: Model) -> Told:
    models = [frozen(copy.deepcopy(model)) for _ in range(2)]
    with torch.no_grad():
        models[1].conv.weight.mul_(2)
    parameters, buffers = stack_module_state(models)
    return vmap(lambda p, b, x: functional_call(model, (p, b), (x,)), in_dims=(0, 0, None))(
        parameters, buffers, image()
    )


@transformation("functional_call")
def other_weights(model: Model) -> Told:
    doubled = {name: 2 * weight.detach() for name, weight in model.named_parameters()}
    with torch.no_grad():
        return functional_call(model, doubled, image())


# -- Watched -------------------------------------------------------------------------------------------------------


@transformation("FlopCounterMode")
def counted(model: Model) -> Told:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image())
    return counter.get_total_flops()


@transformation("a dispatch mode")
def watched_dispatch(model: Model) -> Told:
    seen: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Watch():
        result = model(image())
    return result, [name for name in seen if "conv" in name or "mm" in name]


@transformation("a function mode")
def watched_functions(model: Model) -> Told:
    seen: list[Any] = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    with torch.no_grad(), Watch():
        result = model(image())
    return result, [func for func in seen if func in (F.conv2d, F.linear, F.scaled_dot_product_attention)]


@transformation("a tensor's own kind")
def subclassed(model: Model) -> Told:
    class Own(Tensor):
        pass

    result = frozen(model)(image().as_subclass(Own))
    return type(result).__name__, result.as_subclass(Tensor)


@transformation("hooks")
def hooked(model: Model) -> Told:
    seen: list[Any] = []
    model.conv.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0].shape))
    model.conv.register_forward_hook(lambda layer, inputs, output: output + 1)
    model.conv.register_full_backward_hook(lambda layer, before, after: seen.append(after[0].shape))
    model(image()).sum().backward()
    return seen, gradients(model)


# -- Of another kind or place --------------------------------------------------------------------------------------


for dtype in (torch.float64, torch.float16, torch.bfloat16):

    @transformation(f"to {dtype}")
    def cast(model: Model, dtype: torch.dtype = dtype) -> Told:
        result = frozen(model).to(dtype)(image().to(dtype))
        return result.dtype, result if dtype.itemsize > 2 else result.float().mul(
            8
        ).round()  # 1/8: its rounding


@transformation("autocast")
def autocast(model: Model) -> Told:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return model(image())


@transformation("to meta")
def to_meta(model: Model) -> Told:
    return frozen(model).to("meta")(image().to("meta")).shape


@transformation("with torch.device(meta)")
def under_device(model: Model) -> Told:
    x = image()
    with torch.device("meta"), torch.no_grad():
        return model.conv(model.first(x))


@transformation("inference_mode")
def inference(model: Model) -> Told:
    with torch.inference_mode():
        return model(image()).clone()


@transformation("channels_last")
def channels_last(model: Model) -> Told:
    return frozen(model).to(memory_format=torch.channels_last)(image().to(memory_format=torch.channels_last))


@transformation("mkldnn")
def to_mkldnn(model: Model) -> Told:
    return mkldnn.to_mkldnn(nn.Sequential(frozen(model).conv, model.norm))(
        many_channels().to_mkldnn()
    ).to_dense()


@transformation("complex numbers")
def complex_numbers(model: Model) -> Told:
    layers = frozen(model.conv).to(torch.complex64), frozen(model.last).to(torch.complex64)
    with torch.no_grad():
        return layers[0](many_channels() * 1j).imag, layers[1](torch.ones(2, 64) * 1j).imag


@transformation("a view of negated numbers")
def negated(model: Model) -> Told:
    x = torch.complex(many_channels(), many_channels()).conj().imag
    assert x.is_neg()
    with torch.no_grad():
        return model.conv(x), model.last(x.movedim(1, -1))


@transformation("nested tensors")
def nested(model: Model) -> Told:
    with torch.no_grad():
        return model.last(
            torch.nested.nested_tensor([torch.ones(2, 64), torch.ones(3, 64)])
        ).to_padded_tensor(0.0)


@transformation("sparse tensors")
def sparse(model: Model) -> Told:
    with torch.no_grad():
        return model.last(torch.eye(64).to_sparse())


@transformation("an image without a batch")
def unbatched(model: Model) -> Told:
    with torch.no_grad():
        return model.conv(model.first(image()[0]))


@transformation("an empty batch")
def empty(model: Model) -> Told:
    with torch.no_grad():
        return model(image()[:0]).shape


@transformation("what does not fit")
def misfit(model: Model) -> Told:
    said = []
    for call in (lambda: model.conv(image()), lambda: model.last(image()), lambda: model.conv(image().int())):
        with torch.no_grad(), pytest.raises(RuntimeError) as refusal:
            call()
        said.append(str(refusal.value))
    return said


# -- Copied and changed --------------------------------------------------------------------------------------------


def with_own_weights(copied: Model) -> Told:
    """What a copy gives with other weights: those of the original must not come into it."""
    with torch.no_grad():
        for weight in copied.parameters():
            weight.mul_(1.5)
        return copied(image())


@transformation("deepcopy")
def deep_copied(model: Model) -> Told:
    copied = copy.deepcopy(model)
    return with_own_weights(copied), frozen(model)(image())


@transformation("pickle")
def pickled(model: Model) -> Told:
    return with_own_weights(pickle.loads(pickle.dumps(model))), frozen(model)(image())


@transformation("torch.save")
def saved(model: Model) -> Told:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return with_own_weights(torch.load(file, weights_only=False))


@transformation("state_dict")
def loaded(model: Model) -> Told:
    other = {name: 2 * tensor for name, tensor in model.state_dict().items()}
    model.load_state_dict(other, assign=True)
    return frozen(model)(image()), [*model.state_dict()]


for name, norm in {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "older weight_norm": nn.utils.weight_norm,
    "older spectral_norm": nn.utils.spectral_norm,
    "prune": partial(prune.l1_unstructured, name="weight", amount=0.3),
}.items():

    @transformation(name)
    def normed(model: Model, norm: Callable[..., Any] = norm) -> Told:
        torch.manual_seed(3)
        for layer in (model.conv, model.first, model.last):
            norm(layer)
        with torch.no_grad():
            result = model(image())
        model(image()).square().sum().backward()
        return result, gradients(model)


@transformation("parametrized, and back")
def parametrized(model: Model) -> Told:
    class Double(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return 2 * weight

    parametrize.register_parametrization(model.conv, "weight", Double())
    during = frozen(model)(image())
    parametrize.remove_parametrizations(model.conv, "weight")
    return during, model(image()), type(model.conv)


@transformation("batch norm fused")
def fused(model: Model) -> Told:
    return frozen(fusion.fuse_conv_bn_eval(model.conv, model.norm))(many_channels())


@transformation("linear layers quantized")
def quantized(model: Model) -> Told:
    small = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8)
    return type(small.last).__module__, frozen(small)(image()).mul(10).round()


@transformation("convolutions quantized")
def statically_quantized(model: Model) -> Told:
    q = torch.ao.quantization
    wrapped = q.QuantWrapper(model.conv).eval()
    wrapped.qconfig = q.get_default_qconfig("x86")
    prepared = q.prepare(wrapped)
    prepared(many_channels())
    return type(q.convert(prepared).module).__module__


# -- The tests -----------------------------------------------------------------------------------------------------


@contextmanager
def torch_may_warn() -> Iterator[None]:
    """Of old ways that will go, and of what tracing cannot see: it warns of the plain model likewise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def assert_same(result: Told, right: Told) -> None:
    if isinstance(right, Tensor):
        assert result.shape == right.shape
        assert result.dtype == right.dtype
        scale = max(1e-9, float(right.abs().max())) if right.numel() else 1.0
        assert (result - right).abs().max() <= ROUNDING * scale
    elif isinstance(right, list | tuple):
        assert len(result) == len(right)
        for one, other in zip(result, right, strict=True):
            assert_same(one, other)
    else:
        assert result == right


def test_the_small_model_takes_every_fast_way() -> None:
    ways = {layer.name: layer.why for layer in explain(accelerate(make()), image()).layers}
    assert ways["conv"].startswith("F(")
    assert ways["first"] == "torch's, channels last"
    assert ways["last"] == ways["attention.out"] == "oneDNN"
    assert ways["attention"] == "native attention"


@pytest.mark.thorough
@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_an_accelerated_model_gives_what_a_plain_one_gives_and_is_restored_after_it(name: str) -> None:
    plain, fast = make(), accelerate(make())
    with torch_may_warn():
        right = TRANSFORMATIONS[name](plain)
        assert_same(TRANSFORMATIONS[name](fast), right)
    restore(fast)
    for one, other in zip(fast.modules(), plain.modules(), strict=True):
        assert type(one).__name__ == type(other).__name__
        assert vars(one).keys() == vars(other).keys()
        assert not changes(one)
    for one, other in zip(fast.state_dict().values(), plain.state_dict().values(), strict=True):
        assert one.stride() == other.stride()
        assert one.is_meta or torch.allclose(one, other, rtol=ROUNDING, atol=ROUNDING)


def test_threads_that_differentiate_do_not_slow_those_that_infer() -> None:
    fast, ways = accelerate(make()), []

    def infer() -> None:
        ways.extend(layer.why for layer in explain(fast, image()).layers if layer.name == "conv")

    with FlopCounterMode(display=False):  # a mode is its thread's own
        thread = threading.Thread(target=infer)
        thread.start()
        thread.join()
    assert ways[0].startswith("F(")
