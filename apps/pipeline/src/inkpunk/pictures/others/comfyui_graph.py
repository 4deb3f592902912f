"""ComfyUI's graph of nodes: what a picture's `prompt` holds, as it was sent to be drawn."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from inkpunk.pictures.facts import PictureError
from inkpunk.pictures.others.plain import in_a_line, items, loaded, mapping, number, text

MOST_NODES = 20_000
FARTHEST = 300  # links in a row: whoever follows more goes in a circle

PASSING = {"Reroute": ("", "input", "any"), "Reroute (rgthree)": ("",), "Any Switch (rgthree)": ("any_01",)}
"""Nodes that hand on what they are given, and by which inputs."""
HOLDING = ("value", "seed", "noise_seed", "int", "float", "number", "text", "string", "prompt")
"""The inputs by which nodes that hold a number or a text are told it."""


@dataclass(frozen=True)
class Link:
    """Where an input comes from: a node, and which of its outputs."""

    node: str
    slot: int


@dataclass(frozen=True)
class Node:
    """A node: what kind, and its inputs, each a `Link` or a value of JSON."""

    name: str
    kind: str
    inputs: Mapping[str, object]

    def link(self, *names: str) -> Link | None:
        """The first of these inputs that comes from another node."""
        return next((value for name in names if isinstance(value := self.inputs.get(name), Link)), None)

    def __str__(self) -> str:
        """What messages call it."""
        return f"{in_a_line(self.kind)} {in_a_line(self.name)}"


Graph = Mapping[str, Node]


def read_prompt(told: str) -> Graph:
    """Read a graph from the JSON text that a picture holds.

    Raises:
        PictureError: for JSON that is no graph.
    """
    nodes = mapping(loaded(told, "ComfyUI prompt"))
    if isinstance(nodes.get("prompt"), dict):  # as some send it
        nodes = mapping(nodes["prompt"])
    if len(nodes) > MOST_NODES:
        raise PictureError(f"its ComfyUI prompt has {len(nodes):,} nodes, which no graph has")
    graph = dict[str, Node]()
    for name, value in nodes.items():
        kind = text(mapping(value).get("class_type"))
        if kind:
            inputs = mapping(mapping(value).get("inputs"))
            graph[name] = Node(name, kind, {key: _linked(each) for key, each in inputs.items()})
    if not graph:
        raise PictureError("its ComfyUI prompt has no nodes")
    return graph


def _linked(value: object) -> object:
    match items(value):
        case [str() | int() as node, int() as slot] if not isinstance(node, bool):
            return Link(str(node)[:100], slot)
        case _:
            return value


def way(graph: Graph, link: Link | None) -> Iterator[tuple[Node, int]]:
    """The node that a link comes from, and which output: behind those that hand on what they are given."""
    for _ in range(FARTHEST):
        node = graph.get(link.node) if link else None
        if node is None or link is None:
            return
        yield node, link.slot
        if node.kind not in PASSING:
            return
        link = node.link(*PASSING[node.kind], *node.inputs)


def source(graph: Graph, link: Link | None) -> tuple[Node, int] | None:
    """The node that a link comes from in the end; None where there is none."""
    for node, slot in way(graph, link):
        if node.kind not in PASSING:
            return node, slot
    return None


def value_of(graph: Graph, value: object) -> tuple[object, Node | None]:
    """An input's value, and the node that holds it where that is none of the plain ones.

    Returns:
        None for a value that a node makes, and that node.
    """
    holder = None
    for _ in range(FARTHEST):
        if not isinstance(value, Link):
            return value, None if holder is None or holder.kind.startswith("Primitive") else holder
        found = source(graph, value)
        if found is None:
            return None, holder
        holder = found[0]
        held = [holder.inputs[name] for name in HOLDING if name in holder.inputs]
        value = next(
            (each for each in held if isinstance(each, Link | str) or number(each) is not None), None
        )
    return None, holder
