"""Linear layers and convolutions whose products are of bfloat16, and whose sums are of float32."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import BFloat16, Float
from torch import Tensor, nn

from inkpunk_winograd.native.products import MULTIPLE, native_products, why_no_native_products

PIXELS = 16  # that the native kernels take from a row at a time
DTYPES = (torch.float32, torch.bfloat16)


def why_no_products(module: nn.Module) -> str | None:
    """Why the products of a layer are not of bfloat16, in a few words; None where they can be."""
    if type(module) is nn.Linear:
        channels = (module.in_features, module.out_features)
    elif type(module) is nn.Conv2d:
        if module.kernel_size not in ((1, 1), (3, 3)):
            return f"its kernel is {'x'.join(map(str, module.kernel_size))}, neither 1x1 nor 3x3"
        if module.groups != 1 or module.dilation != (1, 1) or module.padding_mode != "zeros":
            return "it has groups, is dilated, or its border is not of zeros"
        channels = (module.in_channels, module.out_channels)
    else:
        return f"a {type(module).__name__}, not exactly an nn.Linear or nn.Conv2d"
    if any(each % MULTIPLE for each in channels):
        return f"its channels, {channels[0]} and {channels[1]}, are not multiples of {MULTIPLE}"
    return None


def linear_products(
    input: Float[Tensor, "*batch ins"],
    weight: BFloat16[Tensor, "outs ins"],
    bias: Float[Tensor, " outs"] | None = None,
    *,
    native: bool = True,
) -> Float[Tensor, "*batch outs"]:
    """`torch.nn.functional.linear` of an input rounded to bfloat16, summed in float32.

    Not differentiable.

    Args:
        input: float32 or bfloat16; so is what is returned.
        weight: contiguous.
        bias: of any floating dtype.
        native: by the native kernels, where there are any.
    """
    if native and why_no_native_products() is None:
        rows = input.reshape(-1, input.shape[-1]).contiguous()
        across = PIXELS if rows.shape[0] % PIXELS == 0 else rows.shape[0]
        pixels = rows.view(1, -1, across, rows.shape[1])
        result = native_products(pixels, weight[:, :, None, None], None if bias is None else bias.float())
        return result.view(*input.shape[:-1], -1)
    wide = F.linear(_rounded(input), weight.float(), None if bias is None else bias.float())
    return wide.to(input.dtype)


def conv2d_products(
    input: Float[Tensor, "batch channels height width"],
    weight: BFloat16[Tensor, "out channels side side"],
    bias: Float[Tensor, " out"] | None = None,
    *,
    doubled: bool = False,
    native: bool = True,
) -> Float[Tensor, "batch out out_height out_width"]:
    """`torch.nn.functional.conv2d(..., padding="same")` of an input rounded to bfloat16, summed in float32.

    Not differentiable. The result is channels last in memory.

    Args:
        input: float32 or bfloat16; so is what is returned. An input that is channels last saves a copy.
        weight: kernels of 1 x 1 or 3 x 3, channels last in memory.
        bias: of any floating dtype.
        doubled: of the input made twice as high and wide, each pixel 2 x 2 of its kind; kernels are of 3 x 3. The
            native kernels never make that picture.
        native: by the native kernels, where there are any.
    """
    bias = None if bias is None else bias.float()
    if native and why_no_native_products() is None:
        pixels = input.permute(0, 2, 3, 1).contiguous()
        batch, height, width, channels = pixels.shape
        if doubled:
            return native_products(pixels, weight, bias, doubled=True).permute(0, 3, 1, 2)
        if weight.shape[-1] == 1:  # then it is a matrix product, and rows are of no meaning
            across = PIXELS if batch * height * width % PIXELS == 0 else batch * height * width
            pixels = pixels.view(1, -1, across, channels)
        return native_products(pixels, weight, bias).view(batch, height, width, -1).permute(0, 3, 1, 2)
    input = F.interpolate(input, scale_factor=2.0, mode="nearest") if doubled else input
    wide = F.conv2d(_rounded(input), weight.float(), bias, padding="same")
    return wide.to(input.dtype, memory_format=torch.channels_last)


def _rounded(input: Tensor) -> Tensor:
    return input.bfloat16().float()


class Narrow:
    """A layer's weights in bfloat16, in the order that they are multiplied in.

    Those that are so are taken as they lie. Of others a copy is kept, for as long as they stay what they are: half as
    large as weights in float32.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._known: tuple[Any, Tensor] | None = None

    def of(self, weight: Tensor) -> Tensor:
        """The weights, of a linear layer or a convolution."""
        order = torch.channels_last if weight.ndim == 4 else torch.contiguous_format
        if weight.dtype is torch.bfloat16 and weight.is_contiguous(memory_format=order):
            return weight
        state = (weight.data_ptr(), -1 if weight.is_inference() else weight._version)
        known = self._known
        if known is None or known[0] != state:
            known = (
                state,
                weight.detach().to(torch.bfloat16, memory_format=order).contiguous(memory_format=order),
            )
            self._known = known
        return known[1]

    def __reduce__(self) -> tuple[type["Narrow"], tuple[()]]:
        return Narrow, ()  # a copy keeps its own


def strided_products(module: nn.Conv2d, input: Tensor, weight: Tensor) -> Tensor:
    """What a convolution of any stride gives, by torch's own of bfloat16."""
    bias = None if module.bias is None else module.bias.to(torch.bfloat16)
    narrow = input.to(torch.bfloat16, memory_format=torch.channels_last)
    return F.conv2d(narrow, weight, bias, module.stride, module.padding).to(input.dtype)


def with_wide_weights(layer: nn.Module, inner: Callable[..., Any], *inputs: Any) -> Any:
    """What a layer gives with its weights in float32.

    Another layer of the same attributes has them, so that threads share the narrow one undisturbed.
    """
    wide: dict[str, Any] = {
        name: nn.Parameter(parameter.float(), requires_grad=False)
        for name, parameter in layer.named_parameters(recurse=False)
    }
    twin = object.__new__(type(layer))
    vars(twin).update(vars(layer) | {"_parameters": {**vars(layer)["_parameters"], **wide}})
    return inner(twin, *inputs)
