"""Refusals in AUTOMATIC1111's form: `error` is a kind, `detail` the sentence, and what cannot be drawn is a 422."""

from fastapi.responses import JSONResponse
from pydantic import BaseModel

from inkpunk_studio.http import refusing
from inkpunk_studio.http.refusing import Refusal


class ErrorOut(BaseModel):
    """A refusal.

    Attributes:
        error: its kind.
        detail: which value, why, and what to do, in one line.
        body: of the request; never sent back.
        errors: the same sentence, where other clients look.
    """

    error: str = "HTTPException"
    detail: str
    body: str = ""
    errors: str


def answer_to(refusal: Refusal) -> JSONResponse:
    """A refusal as an answer."""
    status = 422 if refusal.status == 400 else refusal.status
    told = ErrorOut(detail=refusal.message, errors=refusal.message)
    return JSONResponse(told.model_dump(), status, refusing.headers_of(refusal))


class Route(refusing.Route):
    """A route that refuses in AUTOMATIC1111's form."""

    form = ErrorOut

    @staticmethod
    def refused(refusal: Refusal) -> JSONResponse:
        """Make an answer of a refusal."""
        return answer_to(refusal)
