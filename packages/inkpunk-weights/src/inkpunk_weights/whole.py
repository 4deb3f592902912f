"""A file's tensors under our names, all there and of the right shapes."""

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from inkpunk_weights.errors import CheckpointError, shown
from inkpunk_weights.lazy import LazyTensors, Spec

Shape = tuple[int, ...]


def renamed(tensors: LazyTensors, in_file: Mapping[str, str], shapes: Mapping[str, Shape]) -> LazyTensors:
    """The tensors by our names, in our shapes where these differ from the file's in axes of one number."""
    specs = {ours: tensors.spec(theirs) for ours, theirs in in_file.items()}
    specs = {ours: Spec(spec.dtype, shapes.get(ours, spec.shape)) for ours, spec in specs.items()}

    def read(ours: str) -> Tensor:
        return tensors[in_file[ours]].reshape(specs[ours].shape)

    return LazyTensors(specs, read)


def check_whole(
    where: str,
    what: str,
    tensors: LazyTensors,
    in_file: Mapping[str, str],
    expected: Iterable[tuple[str, Shape]],
) -> None:
    """Refuse what no network could be filled with.

    Args:
        where: the file, for messages.
        what: the network, for messages.
        tensors: by our names.
        in_file: for each of them its name in the file.
        expected: name and shape of each tensor of the network.

    Raises:
        CheckpointError: a tensor is missing, misshapen, no floating-point one, or of another network.
    """
    missing: list[str] = []
    shapes = dict(expected)
    for name, shape in shapes.items():
        if name not in tensors:
            missing.append(name)
            continue
        spec = tensors.spec(name)
        if spec.shape != shape or not spec.dtype.is_floating_point:
            raise CheckpointError(
                f"{where}: {shown(in_file[name])} is {spec.dtype} of shape {list(spec.shape)}, and should be "
                f"floating-point of {list(shape)}; get another copy of it"
            )
    if missing:
        raise CheckpointError(
            f"{where}: is incomplete: {len(missing):,} tensors are missing, first {missing[0]}, as we name it; fetch "
            "it again"
        )
    if odd := [name for name in tensors if name not in shapes]:
        raise CheckpointError(
            f"{where}: {shown(in_file[odd[0]])} does not belong to {what}; get another copy of it"
        )


def linear(name: str, inputs: int, outputs: int, bias: bool = True) -> Iterator[tuple[str, Shape]]:
    """Names and shapes of a linear layer's tensors."""
    yield f"{name}.weight", (outputs, inputs)
    if bias:
        yield f"{name}.bias", (outputs,)


def norm(name: str, width: int) -> Iterator[tuple[str, Shape]]:
    """Names and shapes of a norm's tensors."""
    yield from ((f"{name}.weight", (width,)), (f"{name}.bias", (width,)))


def size(where: str, tensors: LazyTensors, name: str, dims: int, axis: int) -> int:
    """What a tensor, by our name, has along an axis.

    Raises:
        CheckpointError: it is missing, empty, or of another number of dimensions.
    """
    if name not in tensors:
        raise CheckpointError(f"{where}: is incomplete: {name}, as we name it, is missing; fetch it again")
    spec = tensors.spec(name)
    if len(spec.shape) != dims or not spec.numel:
        raise CheckpointError(
            f"{where}: {name}, as we name it, has the shape {list(spec.shape)}, and should have {dims} dimensions; "
            "get another copy of it"
        )
    return spec.shape[axis]
