"""The names that options choose from, told again: importing them takes torch, which --help need not wait for."""

# Those of `Speed` but for compile
WAYS = (
    "winograd",
    "channels_last",
    "linears",
    "threads",
    "attention",
    "in_place",
    "memo",
    "share",
    "keep_memory",
    "graphs",
)
# inkpunk_sampling.SPACINGS
SPACINGS = (
    "linspace",
    "leading",
    "trailing",
    "uniform",
    "sgm_uniform",
    "simple",
    "karras",
    "exponential",
    "kl_optimal",
    "beta",
    "beta_sigma",
    "ays",
    "lcm",
)
# and CONVENTIONS and PREDICTIONS
PROGRAMS = ("inkpunk", "a1111", "comfyui", "diffusers")
PREDICTIONS = ("epsilon", "v", "sample")
# and inkpunk_clip.EMPHASES
EMPHASES = ("mean", "plain", "from_empty", "ignore")
# and inkpunk.road.tileable.AXES
TILEABLE = ("x", "y", "xy")
# and inkpunk.pictures.canvas.CONTENTS
CONTENTS = ("original", "blurred", "noise", "blank")
# and inkpunk.pictures.fitting.RESIZES
RESIZES = ("fill", "fit", "stretch", "pad")
