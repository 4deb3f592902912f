"""Refusals in AUTOMATIC1111's form: `error` is a kind, `detail` the sentence, and what cannot be drawn is a 422."""

from collections.abc import Callable, Coroutine
from math import ceil
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel

from inkpunk_studio.http.refusing import Refusal, refusal_of


class ErrorOut(BaseModel):
    """A refusal.

    Attributes:
        error: its kind.
        detail: which value, why, and what to do, in one line.
        body: of the request; never sent back.
        errors: the same sentence, where other clients look.
    """

    error: str
    detail: str
    body: str = ""
    errors: str = ""


class Route(APIRoute):
    """A route that refuses in AUTOMATIC1111's form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with what it raises in words."""
        handle = super().get_route_handler()

        async def handle_in_words(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                if (refusal := refusal_of(error)) is None:
                    raise
                return answer_to(refusal)

        return handle_in_words


def answer_to(refusal: Refusal) -> JSONResponse:
    """A refusal as an answer."""
    status = 422 if refusal.status == 400 else refusal.status
    headers = {} if refusal.retry_after is None else {"Retry-After": str(ceil(refusal.retry_after))}
    told = ErrorOut(error="HTTPException", detail=refusal.message, errors=refusal.message)
    return JSONResponse(told.model_dump(), status, headers)
