"""What a plan asks for in vain."""

from collections.abc import Iterator

from inkpunk.road.plan import Plan

FEW_STEPS = ("lcm", "tcd")  # samplers of models that were distilled to draw in a step or few


def idle(plan: Plan) -> Iterator[str]:
    """What was asked for and changes nothing, and pictures that nobody can want: a line each, for who asked."""
    request = plan.request
    if request.negative_prompt and plan.rows == len(plan.texts):
        yield "The negative prompt changes nothing at guidance 1, which is off."
    if request.init is None and request.strength != type(request).strength:
        yield "--strength changes nothing without --init."
    if request.enlarge and request.init and request.strength != type(request).strength:
        yield "--strength changes nothing where --enlarge takes --init as it is."
    if plan.idle:
        yield "The mask is black: nothing is drawn anew, and the picture stays as it was."
    if request.shaping is None and request.resize != "fill":
        yield "--resize changes nothing without --init or --control."
    if len(plan.path) == 2 and plan.sampler not in FEW_STEPS:
        yield "One step draws a blur, but with a distilled model; 16 to 50 are usual."
