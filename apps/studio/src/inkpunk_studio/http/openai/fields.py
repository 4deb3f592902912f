"""What requests of OpenAI's images API say, and what is answered."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Background = Literal["auto", "opaque", "transparent"]
Form = Literal["png", "jpeg", "webp"]


def _or_none(value: object) -> object:
    """Forms have no null: an empty field is one that is not given."""
    return None if value == "" else value


class Fields(BaseModel):
    """What all requests for pictures have; options of inkpunk stand beside it.

    Attributes:
        model: a name of `/v1/models`. OpenAI's own names stand for the current model.
        n: how many pictures.
        size: WIDTHxHEIGHT, or auto.
        response_format: base64 in the answer, or an address that expires.
        user: not used.
    """

    model_config = ConfigDict(extra="allow")

    model: Annotated[str | None, BeforeValidator(_or_none)] = None
    n: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(_or_none)] = None
    size: Annotated[str | None, BeforeValidator(_or_none), Field(examples=["512x512", "auto"])] = None
    response_format: Annotated[Literal["url", "b64_json"] | None, BeforeValidator(_or_none)] = None
    user: str | None = None

    @property
    def options(self) -> dict[str, Any]:
        """What stands beside OpenAI's fields."""
        return self.model_extra or {}


class DrawnFields(Fields):
    """What generations and edits have beside.

    Attributes:
        prompt: what the picture shows.
        quality: how many steps are taken; a number is inkpunk's quality of the file.
        output_format: of the file.
        output_compression: of JPEG and WebP, 1 to 100: the quality that is kept.
        background: all pictures are opaque.
        stream: whether it is told as it goes on, by server-sent events.
        partial_images: how many previews are told of each picture.
    """

    prompt: str
    quality: Annotated[str | int | None, BeforeValidator(_or_none)] = None
    output_format: Annotated[Form | None, BeforeValidator(_or_none)] = None
    output_compression: Annotated[Annotated[int, Field(ge=0, le=100)] | None, BeforeValidator(_or_none)] = (
        None
    )
    background: Annotated[Background | None, BeforeValidator(_or_none)] = None
    stream: Annotated[bool | None, BeforeValidator(_or_none)] = None
    partial_images: Annotated[Annotated[int, Field(ge=0, le=3)] | None, BeforeValidator(_or_none)] = None


class Generation(DrawnFields):
    """A request for pictures from a prompt.

    Attributes:
        moderation, style: not used.
    """

    moderation: str | None = None
    style: str | None = None


class Edit(DrawnFields):
    """A request for a picture to be changed; the pictures are no fields of it.

    Attributes:
        input_fidelity: "low" draws more of the picture anew than "high".
    """

    input_fidelity: Annotated[Literal["low", "high"] | None, BeforeValidator(_or_none)] = None


class Variation(Fields):
    """A request for pictures like one.

    Attributes:
        prompt: what they show; OpenAI's has none.
    """

    prompt: str = ""


class ImageOut(BaseModel):
    """A picture in an answer.

    Attributes:
        b64_json: its file in base64, or
        url: where it is to be had for a while.
        seed: inkpunk's seed, which draws it again.
        infotext: its recipe, as AUTOMATIC1111 writes it.
    """

    b64_json: str | None = None
    url: str | None = None
    seed: int
    infotext: str


class TokenDetails(BaseModel):
    """Tokens by kind; nothing is counted here."""

    image_tokens: int = 0
    text_tokens: int = 0


class Usage(BaseModel):
    """What OpenAI bills by; nothing is counted here."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    input_tokens_details: TokenDetails = TokenDetails()


class ImagesOut(BaseModel):
    """The answer with pictures.

    Attributes:
        created: Unix seconds.
        data: the pictures.
        background, output_format, quality, size: what they have.
        usage: zeros.
        job: inkpunk's id of the job, under which /jobs tells of it.
        warnings: what the asker should know, a line each.
    """

    created: int
    data: list[ImageOut]
    background: Literal["opaque", "transparent"] = "opaque"
    output_format: str
    quality: str | None
    size: str
    usage: Usage = Usage()
    job: str
    warnings: list[str]


class ModelOut(BaseModel):
    """A model that can be chosen."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "inkpunk"


class ModelsOut(BaseModel):
    """All models that can be chosen."""

    object: Literal["list"] = "list"
    data: list[ModelOut]
