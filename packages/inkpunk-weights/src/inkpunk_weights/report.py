"""What a checkpoint is and what is wrong with it, all at once and in the words of its file."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from inkpunk_weights.anatomy import Anatomy, Shape, TextEncoderAnatomy, UNetAnatomy, anatomy_of
from inkpunk_weights.components import Component, ldm_shape
from inkpunk_weights.errors import CheckpointError, shown

UNET_VARIANTS = {
    UNetAnatomy(): "SD v1 text-to-image",
    UNetAnatomy(in_channels=9): "SD v1 inpainting (9 channels)",
    UNetAnatomy(in_channels=8): "SD v1 instruction editing (8 channels)",
}


@dataclass(frozen=True)
class Misshapen:
    """A tensor whose shape does not fit the others."""

    name: str
    found: Shape
    expected: Shape


@dataclass(frozen=True)
class ComponentReport:
    """One component: what it is, and what is wrong with it. All tensor names are the file's.

    Args:
        name: "text_encoder", "unet" or "vae".
        variant: what it is, in words.
        parameters: how many numbers it has.
        dtypes: how many tensors there are of each dtype.
        missing: tensors that such a component has and this one has not.
        unexpected: tensors that no layer of it has.
        misshapen: tensors whose shape does not fit the others.
        twice: pairs of names that mean the same tensor; the first is used.
        integer: tensors that hold integers, as quantised files do, where numbers with a fraction belong.
        not_finite: tensors with NaN or infinity; known only if the report was asked for it.
        unreadable: tensors whose bytes are damaged; known only if the report was asked for not-finite ones.
        averaged: whether these are moving averages (EMA), because they were asked for or are all there is.
    """

    name: str
    variant: str
    parameters: int
    dtypes: Mapping[str, int]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[Misshapen, ...]
    twice: tuple[tuple[str, str], ...]
    integer: tuple[str, ...]
    not_finite: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    averaged: bool = False

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each thing that is wrong."""
        plain = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "holds integers": self.integer,
            "holds NaN or infinity": self.not_finite,
            "cannot be read": self.unreadable,
        }
        lines = [f"{what}: {shown(name)}" for what, names in plain.items() for name in names]
        lines += [
            f"misshapen: {shown(m.name)} is {list(m.found)}, expected {list(m.expected)}"
            for m in self.misshapen
        ]
        lines += [f"twice: {shown(second)} means the same as {shown(first)}" for first, second in self.twice]
        return tuple(f"{self.name}: {line}" for line in lines)


@dataclass(frozen=True)
class Report:
    """What a checkpoint is; `print` it for people.

    Args:
        path: the file or folder.
        layout: how it is laid out.
        components: those it has.
        leftovers: how many tensors training left in it, which are ignored.
        unknown: tensors that belong to no component, which are ignored too.
        imports: what its pickle would have imported, had it been run.
    """

    path: str
    layout: str
    components: tuple[ComponentReport, ...]
    leftovers: int
    unknown: tuple[str, ...]
    imports: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each thing that keeps a component from being used as it is; none if all is well."""
        return tuple(line for component in self.components for line in component.problems)

    def __str__(self) -> str:
        """Several lines for people."""
        lines = [f"{self.path}: {self.layout}"]
        for part in self.components:
            dtypes = ", ".join(f"{dtype} x {tensors}" for dtype, tensors in part.dtypes.items())
            what = f"{part.variant}, moving averages (EMA)" if part.averaged else part.variant
            lines.append(f"  {part.name:<12}  {what}; {part.parameters:,} parameters ({dtypes})")
        lines += [f"  ignored       {self.leftovers} tensors left from training"] * bool(self.leftovers)
        lines += [f"  ignored       {len(self.unknown)} unknown: {_some(self.unknown)}"] * bool(self.unknown)
        lines += [f"  not imported  {_some(self.imports)}"] * bool(self.imports)
        lines += [f"  problem       {problem}" for problem in self.problems]
        return "\n".join(lines)


def report_component(component: Component, *, finite: bool = False) -> ComponentReport:
    """Compare a component with what its like has; `finite` also reads every tensor of it, one at a time."""
    tensors, specs = component.tensors, component.file_specs
    shapes = {name: tensors.spec(name).shape for name in tensors}
    anatomy = anatomy_of(component.name, shapes)
    expected = dict(anatomy.tensors())
    file_name = component.file_name
    misshapen = tuple(
        Misshapen(file_name(name), specs[name].shape, _as_in_file(name, specs[name].shape, shape))
        for name, shape in expected.items()
        if name in shapes and shapes[name] != shape
    )
    not_finite, unreadable = _faulty(component) if finite else ((), ())
    return ComponentReport(
        name=component.name,
        variant=describe(anatomy),
        parameters=sum(spec.numel for spec in specs.values()),
        dtypes=dict(Counter(str(spec.dtype).removeprefix("torch.") for spec in specs.values()).most_common()),
        missing=tuple(file_name(name) for name in expected if name not in shapes),
        unexpected=(*component.unexpected, *(file_name(name) for name in shapes if name not in expected)),
        misshapen=misshapen,
        twice=component.twice,
        integer=tuple(file_name(name) for name, spec in specs.items() if not spec.dtype.is_floating_point),
        not_finite=not_finite,
        unreadable=unreadable,
        averaged=component.averaged,
    )


def describe(anatomy: Anatomy) -> str:
    """A component in words, by name if it is one of Stable Diffusion v1's."""
    if isinstance(anatomy, UNetAnatomy):
        widths = "/".join(map(str, anatomy.widths))
        size = f"{anatomy.in_channels} channels, widths {widths}, {anatomy.layers} blocks a level"
        return UNET_VARIANTS.get(anatomy, f"like SD v1's: {size}, context width {anatomy.context_width}")
    if anatomy == type(anatomy)():
        return "CLIP ViT-L/14" if isinstance(anatomy, TextEncoderAnatomy) else "SD v1"
    if isinstance(anatomy, TextEncoderAnatomy):
        return f"like CLIP's: {anatomy.layers} layers of width {anatomy.width}, {anatomy.vocabulary:,} tokens"
    return f"like SD v1's: widths {'/'.join(map(str, anatomy.widths))}, {anatomy.layers} blocks a level"


def _as_in_file(name: str, found: Shape, expected: Shape) -> Shape:
    return ldm_shape(name, expected) if len(found) == 4 else expected


def _faulty(component: Component) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The file's names of the tensors that hold NaN or infinity, and of those that cannot be read."""
    not_finite: list[str] = []
    unreadable: list[str] = []
    for name in component.tensors:
        try:
            if not _finite(component.tensors[name]):
                not_finite.append(component.file_name(name))
        except CheckpointError:
            unreadable.append(component.file_name(name))
    return tuple(not_finite), tuple(unreadable)


def _finite(tensor: Tensor) -> bool:
    wide = tensor.float() if tensor.dtype.is_floating_point and tensor.dtype.itemsize == 1 else tensor
    return bool(torch.isfinite(wide).all())


def _some(names: Iterable[str], limit: int = 5) -> str:
    listed = list(names)
    return ", ".join(shown(name) for name in listed[:limit]) + (", ..." if len(listed) > limit else "")
