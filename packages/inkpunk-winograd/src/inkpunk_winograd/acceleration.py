"""Any torch model's convolutions, linear layers and attention, made faster on a CPU in place, and given back."""

from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from inkpunk_winograd.choice import LEAST_CHANNELS, NATIVE, TORCH, cheapest_tile, is_eligible
from inkpunk_winograd.convolution import MEMORY, winograd_conv2d
from inkpunk_winograd.inference import Interception, is_plain_inference
from inkpunk_winograd.linear import linear, why_not_linear
from inkpunk_winograd.native.attention import has_native_attention, is_fit_for_attention, native_attention
from inkpunk_winograd.native.convolution import has_native_convolution
from inkpunk_winograd.native.threads import threads_for, with_threads
from inkpunk_winograd.products import (
    DTYPES,
    Narrow,
    conv2d_products,
    linear_products,
    strided_products,
    why_no_products,
    with_wide_weights,
)
from inkpunk_winograd.wrapping import Inner, changes, unwrap, wrap

Module = TypeVar("Module", bound=nn.Module)
Note: TypeAlias = Callable[[nn.Module, str], None]

WATCHED = "not plain inference: gradients are wanted, or something looks on"
CHANNELS_LAST = torch.channels_last
PRODUCTS_OF_NORM = 100.0  # what a number of a normalisation costs, in multiply-adds
KERNELS = 8  # times as large as a picture: from there on, the picture is turned
# that a module holds itself, at least: one of queries, keys and values together, and one of the output
LINEARS_OF_ATTENTION = 2

_note: ContextVar[Note | None] = ContextVar("_note", default=None)


@contextmanager
def noting(note: Note) -> Generator[None]:
    """Have accelerated modules tell, of each call in this thread meanwhile, which way they took and why."""
    token = _note.set(note)
    try:
        yield
    finally:
        _note.reset(token)


def _tell(module: nn.Module, way: str) -> None:
    if (note := _note.get()) is not None:
        note(module, way)


# eq=False: each is one change to one module, and is found by itself
@dataclass(frozen=True, eq=False)
class Filtered:
    """A 3x3 convolution that takes the cheapest of the direct way, F(2x2) and F(4x4) for each input.

    Attributes:
        memory: bytes that transforms may take while they are used.
        native: use the kernels in C where they can be had.
        channels_last: have the direct way give what minimal filtering gives, channels last.
    """

    memory: int
    native: bool
    channels_last: bool

    def __call__(self, module: nn.Conv2d, inner: Inner, input: Tensor) -> Tensor:
        """As `nn.Conv2d` does, but for rounding."""
        if not _is_plain(module, input) or input.ndim not in (3, 4) or input.shape[-3] != module.in_channels:
            _tell(module, f"direct: {WATCHED}")
            return inner(module, input)  # what is wrong with the input, if anything is, torch says best
        batched = input if input.ndim == 4 else input[None]
        batch, channels, height, width = batched.shape
        costs = NATIVE if self.native and has_native_convolution(input.dtype) else TORCH
        turning = not module.weight.is_contiguous(memory_format=CHANNELS_LAST)
        tile = cheapest_tile(batch, channels, module.out_channels, height, width, costs, turning=turning)
        if tile is None:
            few = channels < LEAST_CHANNELS
            _tell(module, f"direct: {'few channels' if few else 'cheaper'} at {list(input.shape)}")
            return _directly(module, inner, input) if self.channels_last else inner(module, input)
        _tell(module, f"F({tile}x{tile}, 3x3){'' if costs is NATIVE else ' in torch operations'}")
        result = winograd_conv2d(
            batched, module.weight, module.bias, tile=tile, memory=self.memory, native=self.native
        )
        return result if input.ndim == 4 else result[0]


@dataclass(frozen=True, eq=False)
class ChannelsLast:
    """A convolution by torch that gives, and is given, channels last."""

    def __call__(self, module: nn.Conv2d, inner: Inner, input: Tensor) -> Tensor:
        """As `nn.Conv2d` does."""
        if not _is_plain(module, input) or input.ndim != 4:
            _tell(module, f"torch's: {WATCHED}")
            return inner(module, input)
        _tell(module, "torch's, channels last")
        return _directly(module, inner, input)


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear layer by oneDNN, in float32."""

    def __call__(self, module: nn.Linear, inner: Inner, input: Tensor) -> Tensor:
        """As `nn.Linear` does, but for rounding."""
        if (
            _is_plain(module, input)
            and input.dtype == torch.float32
            and input.ndim >= 2
            and input.shape[-1] == module.in_features
        ):
            _tell(module, "oneDNN")
            threads = threads_for(float(input.numel()) * module.out_features)
            return with_threads(threads, linear, input, module.weight, module.bias)
        _tell(module, f"torch's: not float32, or {WATCHED}")
        return inner(module, input)


class Products:
    """A linear layer or a convolution whose products are of bfloat16, with sums in float32.

    Its input may be of float32 or bfloat16, whatever its weights are of; its output is of what the input is.
    """

    def __init__(self, native: bool = True) -> None:
        """By the native kernels, where there are any, unless told otherwise."""
        self.native = native
        self._narrow = Narrow()

    def __call__(self, module: nn.Linear | nn.Conv2d, inner: Inner, input: Tensor) -> Tensor:
        """As the layer does, but for what rounding to 8 bits of precision loses."""
        if not _is_plain(module, input, DTYPES) or not _fits(module, input):
            _tell(module, f"torch's: {WATCHED}")
            return inner(module, input)
        weight = self._narrow.of(module.weight)
        if isinstance(module, nn.Linear):
            _tell(module, "products of bfloat16")
            return linear_products(input, weight, module.bias, native=self.native)
        if _keeps_size(module):
            _tell(module, "products of bfloat16")
            return conv2d_products(input, weight, module.bias, native=self.native)
        _tell(module, "products of bfloat16 by torch")
        return strided_products(module, input, weight)

    def doubled(self, module: nn.Conv2d, input: Tensor) -> Tensor | None:
        """As `convolve_doubled`, without making that picture; None where it has to be made."""
        hooks = any(vars(module)[each] for each in ("_forward_hooks", "_forward_pre_hooks"))
        fits = _keeps_size(module) and module.kernel_size == (3, 3) and _fits(module, input)
        if hooks or not fits or not _is_plain(module, input, DTYPES):
            return None
        _tell(module, "products of bfloat16")
        return conv2d_products(
            input, self._narrow.of(module.weight), module.bias, doubled=True, native=self.native
        )

    def __reduce__(self) -> tuple[type["Products"], tuple[bool]]:
        return Products, (self.native,)


class Wide:
    """A layer of bfloat16 weights that computes in float32 where it is given float32."""

    def __call__(self, module: nn.Module, inner: Inner, *inputs: Any, **named: Any) -> Any:
        """As the layer does."""
        if not is_plain_inference(*module.parameters(recurse=False)):
            return inner(module, *inputs, **named)
        if isinstance(module, nn.Embedding):  # of which few rows are looked up
            return inner(module, *inputs, **named).float()
        if any(isinstance(each, Tensor) and each.dtype is torch.float32 for each in inputs):
            return with_wide_weights(module, partial(inner, **named), *inputs)
        return inner(module, *inputs, **named)


@dataclass(frozen=True, eq=False)
class Threads:
    """A layer by torch, with no more threads than its work is worth.

    torch takes all it may, however small the layer: waking the others then takes longer than they save, and on a
    busy machine each is waited for.

    Attributes:
        products: multiply-adds for each number of the input, about.
    """

    products: float

    @staticmethod
    def of(module: nn.Module) -> "Threads | None":
        """For one layer; None for kinds that are not known."""
        if type(module) is nn.Linear:
            return Threads(float(module.out_features))
        if type(module) is nn.Conv2d:
            down, across = module.stride
            return Threads(module.weight.numel() / (module.in_channels * down * across))
        return Threads(PRODUCTS_OF_NORM) if type(module) in (nn.GroupNorm, nn.LayerNorm) else None

    def __call__(self, module: nn.Module, inner: Inner, input: Tensor) -> Any:
        """As the layer does."""
        if not is_plain_inference(input):
            return inner(module, input)
        return with_threads(threads_for(self.products * input.numel()), inner, module, input)


class _Attending(Interception):
    """While it is on, scaled dot-product attention is the native one, wherever that can do it."""

    def __init__(self, module: nn.Module, products: torch.dtype) -> None:
        super().__init__()
        self._module, self._products = module, products
        self.called = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self.called = True
            return self._attend(func, args, named)
        return func(*args, **named)

    def _attend(self, func: Any, args: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor:
        query, key, value, mask, dropout, causal = (*args, *_ATTENTION_DEFAULTS[len(args) :])[:6]
        query, key, value = named.get("query", query), named.get("key", key), named.get("value", value)
        plain = (
            named.get("attn_mask", mask) is None
            and not named.get("dropout_p", dropout)
            and not named.get("is_causal", causal)
            and not named.get("enable_gqa", False)
        )
        scale = named.get("scale")
        if plain and is_fit_for_attention(query, key, value, self._products) and not (scale and scale < 0):
            _tell(self._module, "native attention")
            return native_attention(query, key, value, scale=scale, products=self._products)
        _tell(self._module, "torch's attention: masked, not of four axes in float32, or something looks on")
        return cast(Tensor, func(*args, **named))


_ATTENTION_DEFAULTS = (None, None, None, None, 0.0, False)


class Attending:
    """A module whose attention, if it calls torch's, is native.

    Watching what a module calls costs a microsecond a call. So one that was seen to call no attention at all, a
    perceptron say, is left alone from then on.
    """

    def __init__(self, products: torch.dtype = torch.float32) -> None:
        """With products of float32, or of bfloat16."""
        self._products = products
        self._calls_none = False

    def __call__(self, module: nn.Module, inner: Inner, *inputs: Any, **named: Any) -> Any:
        """As the module does, but for rounding."""
        if self._calls_none or torch.is_grad_enabled() or not is_plain_inference():
            return inner(module, *inputs, **named)
        with _Attending(module, self._products) as watch:
            result = inner(module, *inputs, **named)
        self._calls_none = not watch.called
        return result


CHANGES = (Filtered, ChannelsLast, Linear, Products, Wide, Threads, Attending)


def accelerate(
    module: Module,
    *,
    convolutions: bool = True,
    linears: bool = True,
    attention: bool = True,
    channels_last: bool = True,
    threads: bool = True,
    memory: int = MEMORY,
    native: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Module:
    """Make a model faster on a CPU, in place, for inference; `explain` tells what was changed, what not, and why.

    Classes, parameters, their names, hooks and everything that refers to the modules stay the same, and `restore`
    takes it all off again. Safe to call twice, and to run from many threads once it is done. With gradients, under
    autocast or any of torch's transformations, off the CPU, and for half-precision linear layers and attention, the
    model's own way is taken.

    Args:
        module: any model, or a layer alone.
        convolutions: 3x3 convolutions by minimal filtering, where that is cheaper.
        linears: float32 linear layers by oneDNN, on processors where that is faster.
        attention: float32 `scaled_dot_product_attention` in one pass over memory, without mask, dropout or gradients;
            of modules that hold linear layers themselves, as attention does. Only where there are native kernels.
        channels_last: have the other 2-d convolutions take and give pictures channels last, too, as minimal filtering
            does: from the first on, nothing has to be turned any more. Kernels stay as they are; a model that is
            channels last itself saves their being turned for each call.
        threads: have small layers take fewer threads, as many as their work is worth. Only where there are native
            kernels.
        memory: bytes that transforms may take while one convolution runs; less is slower where many channels meet
            many pixels. Each thread that runs convolutions natively keeps as much to work in; no transformed kernel
            is kept.
        native: use the kernels in C: those that came with the package, or that a C compiler here builds once.
        dtype: torch.bfloat16 rounds what linear layers, convolutions and attention multiply to bfloat16, and sums in
            float32; everything else stays what it was. It pays on processors that multiply bfloat16: see
            `why_not_bfloat16`. A model in float32 keeps a copy of its kernels, half as large; one in bfloat16 that is
            given float32 computes in float32 what lies between products, and takes no more memory than before.

    Returns:
        The same module.

    Raises:
        ValueError: for another dtype.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype}: must be torch.float32 or torch.bfloat16")
    restore(module)
    parts = [*module.modules()]
    for part in parts if threads and native and has_native_convolution(torch.float32) else ():
        if few := Threads.of(part):
            wrap(part, few)  # first, and so innermost: of what other changes leave to torch
    narrow = (
        {part: change for part in parts if (change := _narrowed(part, native))}
        if dtype is torch.bfloat16
        else {}
    )
    for part, change in narrow.items():
        wrap(part, change)
    filtered = {part for part in parts if convolutions and is_eligible(part) and part not in narrow}
    for part in filtered:
        wrap(part, Filtered(memory, native, channels_last))
    for part in parts if channels_last else ():
        # kernels of one pixel have but one order, and give what they are given
        if (
            type(part) is nn.Conv2d
            and part not in filtered
            and part not in narrow
            and part.kernel_size != (1, 1)
        ):
            wrap(part, ChannelsLast())
    for part in parts:
        if linears and type(part) is nn.Linear and part not in narrow and why_not_linear() is None:
            wrap(part, Linear())
        elif attention and native and may_attend(part) and has_native_attention():
            wrap(part, Attending(dtype))
    return module


def restore(module: Module) -> Module:
    """Undo `accelerate`, in place, and return the same module."""
    for part in module.modules():
        for change in changes(part):
            if isinstance(change, CHANGES):
                unwrap(part, change)
    return module


def convolve_doubled(
    module: nn.Conv2d, input: Float[Tensor, "batch channels height width"]
) -> Float[Tensor, "batch out double_height double_width"]:
    """What a convolution gives of a picture made twice as high and wide, each pixel 2 x 2 of its kind.

    A convolution whose products are of bfloat16 is spared that picture, the largest that there is in a decoder; with
    anything around `accelerate`'s change, it is not.
    """
    outermost = next(reversed(changes(module)), None)
    result = outermost.doubled(module, input) if isinstance(outermost, Products) else None
    return module(F.interpolate(input, scale_factor=2.0, mode="nearest")) if result is None else result


def may_attend(module: nn.Module) -> bool:
    """Whether a module may call attention: it holds linear layers, of queries say, and is not torch's own."""
    layers = sum(isinstance(child, nn.Linear) for child in cast(Iterable[nn.Module], module.children()))
    return layers >= LINEARS_OF_ATTENTION and not type(module).__module__.startswith("torch.nn")


def _is_plain(module: nn.Conv2d | nn.Linear, input: Tensor, dtypes: Collection[torch.dtype] = ()) -> bool:
    """Whether a layer's own tensors and its input are there to be computed with, of one dtype or of these."""
    own = cast("dict[str, Tensor | None]", cast(Any, module)._parameters)
    weight = own.get("weight")  # not there: computed anew for each call, as by weight_norm
    return (
        weight is not None
        and is_plain_inference(input, weight, own["bias"])
        and (input.dtype == weight.dtype or {input.dtype, weight.dtype} <= {*dtypes})
        and (input.dtype in dtypes if dtypes else input.is_floating_point())
        and input.numel() > 0
    )


def _narrowed(module: nn.Module, native: bool) -> Products | Wide | None:
    """What has a layer multiply in bfloat16, or one of such weights that does not compute in float32."""
    if why_no_products(module) is None:
        return Products(native)
    narrow = any(each.dtype is torch.bfloat16 for each in module.parameters(recurse=False))
    return Wide() if narrow else None


def _keeps_size(module: nn.Conv2d) -> bool:
    """Whether a convolution gives as many pixels as it is given."""
    side = module.kernel_size[0]
    return module.stride == (1, 1) and module.padding in ((side // 2, side // 2), "same")


def _fits(module: nn.Linear | nn.Conv2d, input: Tensor) -> bool:
    """Whether an input is of a shape that a layer takes."""
    if isinstance(module, nn.Linear):
        return input.ndim >= 1 and input.shape[-1] == module.in_features
    return input.ndim == 4 and input.shape[1] == module.in_channels


def _directly(module: nn.Conv2d, inner: Inner, input: Tensor) -> Tensor:
    """torch's convolution, channels last in any case.

    torch turns either all of it or nothing. Large kernels that meet a small picture would take longer to be turned
    than to be multiplied: there the picture is turned instead, and back.
    """
    if input.ndim != 4:
        return inner(module, input)
    if (
        module.weight.is_contiguous(memory_format=CHANNELS_LAST)
        or module.weight.numel() < KERNELS * input.numel()
    ):
        return inner(module, input.contiguous(memory_format=CHANNELS_LAST))
    return inner(module, input.contiguous()).contiguous(memory_format=CHANNELS_LAST)
