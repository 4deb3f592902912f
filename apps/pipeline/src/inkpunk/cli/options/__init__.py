"""What the subcommands share: the options that choose a model or decide a picture."""

from inkpunk.cli.options.adding import with_options, without_options
from inkpunk.cli.options.editing import EDITING_OPTIONS
from inkpunk.cli.options.model import (
    DEVICE_OPTION,
    EMA_OPTION,
    EMBEDDING_OPTION,
    MODEL_OPTIONS,
    load_choice,
    lora_options,
    model_options,
    trained_for_options,
)
from inkpunk.cli.options.picture import (
    LANGUAGE_OPTIONS,
    picture_options,
    read_wildcards,
    request_of,
    request_options,
    say_how_it_starts,
    say_what_is_unknown,
)

__all__ = [
    "DEVICE_OPTION",
    "EDITING_OPTIONS",
    "EMA_OPTION",
    "EMBEDDING_OPTION",
    "LANGUAGE_OPTIONS",
    "MODEL_OPTIONS",
    "load_choice",
    "lora_options",
    "model_options",
    "picture_options",
    "read_wildcards",
    "request_of",
    "request_options",
    "say_how_it_starts",
    "say_what_is_unknown",
    "trained_for_options",
    "with_options",
    "without_options",
]
