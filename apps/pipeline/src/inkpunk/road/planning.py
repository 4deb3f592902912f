"""From a request to a plan: the defaults of the model, and of the program it follows, decide what it leaves open."""

from inkpunk_sampling import SAMPLERS, NoiseSchedule

from inkpunk.models.loading import Defaults
from inkpunk.pictures.canvas import Canvas
from inkpunk.request import Request
from inkpunk.road.errors import RequestError
from inkpunk.road.finishing import refuse_idle_finishing
from inkpunk.road.guidance import refuse_guidance_without_effect
from inkpunk.road.plan import Plan


def decide(
    request: Request,
    defaults: Defaults,
    schedule: NoiseSchedule,
    *,
    layers: int,
    size: tuple[int, int],
    canvas: Canvas | None = None,
    begun: bool = False,
) -> Plan:
    """Make the plan of a request.

    Args:
        request: what is asked for.
        defaults: the settings where it leaves them open.
        schedule: the noise that the model was trained on.
        layers: how many its text encoder has.
        size: the width and height that are drawn.
        canvas: the picture of which a part is drawn anew, if it is.
        begun: whether it begins from what another pass has drawn.

    Raises:
        RequestError: for what only a model can judge; see `Pipeline.plan`.
    """
    steps = request.steps or defaults.steps
    conventions = request.program.sampling
    sampler, spacing = request.named_sampler(defaults.sampler)
    settings = schedule, sampler, steps
    spacing = spacing or conventions.spacing(*settings)
    try:
        from_noise = request.init is None or (canvas is not None and request.strength == 1)
        if from_noise and not begun:
            path = conventions.path(*settings, spacing)
        else:
            path = conventions.partial_path(*settings, request.strength, spacing)
    except ValueError as error:
        raise RequestError(str(error)) from error
    if sampler == "plms" and not schedule.signal(path[0]):
        raise RequestError(
            f"sampler plms: cannot begin at timestep {path[0]}, where there is no signal; use ddim"
        )
    if request.skipped_layers >= layers:
        raise RequestError(
            f"clip skip {request.clip_skip}: this model's text encoder has {layers} layers; 2 is usual"
        )
    asked = [request.asked_of(seed) for seed in request.seeds]
    plan = Plan(
        request,
        sampler=sampler,
        spacing=spacing,
        steps=steps,
        guidance=float(defaults.guidance if request.guidance is None else request.guidance),
        width=size[0],
        height=size[1],
        eta=SAMPLERS[sampler].eta if request.eta is None else request.eta,
        clip_skip=request.skipped_layers + request.program.last_layer,
        path=path,
        texts=tuple(texts for texts, _ in asked),
        loras=tuple(loras for _, loras in asked),
        canvas=canvas,
        regions=tuple(request.regions_of(seed) for seed in request.seeds),
    )
    refuse_guidance_without_effect(plan, schedule)
    refuse_idle_controls(plan)
    refuse_idle_finishing(request)
    return plan


def refuse_idle_controls(plan: Plan) -> None:
    """Refuse controls that say nothing, or count at no step.

    Raises:
        RequestError: naming the first.
    """
    steps = len(plan.path) - 1
    _ = plan.hints  # each is made now, and refuses for itself
    for each in plan.request.followed:
        if not any(each.acts_at(step, steps) for step in range(steps)):
            raise RequestError(
                f"{each}: no one of {steps} steps lies within {each.start:g}-{each.end:g}; widen it, or take more "
                "steps"
            )
    if plan.request.guess and not plan.request.followed:
        raise RequestError("guess: changes nothing without a control; give one, or leave it out")
