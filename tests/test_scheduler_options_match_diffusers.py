"""Which of diffusers' schedulers know an option that is refused, so that the others may be told it in vain."""

import inspect

import diffusers
import pytest
from inkpunk_sampling import NoiseSchedule
from inkpunk_sampling.options import OPTIONS


@pytest.mark.parametrize("key", OPTIONS)
def test_schedulers_said_not_to_heed_an_option_do_not_know_it(key: str) -> None:
    for name in OPTIONS[key].unheeded:
        assert key not in inspect.signature(getattr(diffusers, name)).parameters, name


@pytest.mark.parametrize(
    "name", ["PNDMScheduler", "DDIMScheduler", "DDPMScheduler", "EulerDiscreteScheduler"]
)
def test_the_options_of_schedulers_for_latents_are_read(name: str) -> None:
    config = {**getattr(diffusers, name)(1000, 0.00085, 0.012, "scaled_linear").config}
    config = {"_class_name": name, **config} | ({"clip_sample": False} if "clip_sample" in config else {})
    assert NoiseSchedule.from_diffusers(config) == NoiseSchedule()
