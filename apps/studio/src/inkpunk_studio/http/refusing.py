"""What is refused: in OpenAI's form, with the field that others' clients look for, and never as a traceback."""

from collections.abc import Callable, Coroutine
from functools import cache
from math import ceil
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.exceptions import HTTPException, RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.utils import create_model_field
from inkpunk import RequestError
from inkpunk.orders.values import OrderError
from inkpunk_weights import CheckpointError
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteError

from inkpunk_studio.http.incoming import IncomingError
from inkpunk_studio.work.book import QueueFullError
from inkpunk_studio.work.job import NoSuchJobError

KINDS = {
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", None),
    404: ("invalid_request_error", "not_found"),
    413: ("invalid_request_error", "too_large"),
    429: ("rate_limit_error", "queue_full"),
}
"""By status, OpenAI's type of error and a code."""
MOST_TOLD = 1000  # characters of a message


class ErrorTold(BaseModel):
    """Why a request is not done, as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorOut(BaseModel):
    """A refusal; `detail` is where clients of FastAPI and of AUTOMATIC1111 look."""

    error: ErrorTold
    detail: str


class Refusal(Exception):
    """A request that is not done.

    Attributes:
        status: HTTP's.
        message: which value, why, and what to do, in one line.
        param: the field that it is about.
        code: for programs.
        retry_after: seconds after which it may be done.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, _one_line(message), param
        self.code, self.retry_after = code, retry_after


def answer_to(refusal: Refusal) -> JSONResponse:
    """A refusal as an answer."""
    return JSONResponse(body_of(refusal), refusal.status, headers_of(refusal))


def headers_of(refusal: Refusal) -> dict[str, str]:
    """What its headers tell."""
    return {} if refusal.retry_after is None else {"Retry-After": str(ceil(refusal.retry_after))}


def body_of(refusal: Refusal) -> dict[str, Any]:
    """A refusal as JSON."""
    usual = "server_error" if refusal.status >= 500 else "invalid_request_error"
    kind, code = KINDS.get(refusal.status, (usual, None))
    told = ErrorTold(message=refusal.message, type=kind, param=refusal.param, code=refusal.code or code)
    return ErrorOut(error=told, detail=refusal.message).model_dump()


def refusal_of(error: Exception) -> Refusal | None:
    """What an error means to who asked; None for a fault of ours."""
    match error:
        case Refusal():
            return error
        case QueueFullError():
            return Refusal(429, str(error), retry_after=error.retry_after)
        case NoSuchJobError():
            return Refusal(404, str(error))
        case IncomingError() | OrderError() | RequestError() | CheckpointError():
            return Refusal(400, str(error))
        case RequestValidationError():
            return _of_validation(error)
        case HTTPException() | StarletteError():
            return Refusal(error.status_code, str(error.detail))
        case _:
            return None


class Route(APIRoute):
    """A route whose refusals have one form: `APIRouter(route_class=Route, responses=refusals(404, 413))`."""

    form: ClassVar[type[BaseModel]] = ErrorOut

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        told = _field(self.form)
        self.response_fields |= {code: told for code in self.responses if int(code) >= 400}

    @staticmethod
    def refused(refusal: Refusal) -> JSONResponse:
        """Make an answer of a refusal."""
        return answer_to(refusal)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with what it raises in words."""
        handle = super().get_route_handler()

        async def handle_in_words(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:
                if (refusal := refusal_of(error)) is None:
                    raise
                return self.refused(refusal)

        return handle_in_words


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The statuses with which the routes of a router refuse, in their form."""
    return {status: {} for status in statuses}


@cache
def _field(form: type[BaseModel]) -> Any:
    """How FastAPI describes a form: made once, where it would make one for each of 300 statuses of routes."""
    return create_model_field(form.__name__, form, mode="serialization")


def shortly(value: object) -> str:
    """A value as a message tells it; of what may be nested without end, its kind."""
    return repr(value)[:60] if isinstance(value, str | int | float) else type(value).__name__


def _of_validation(error: RequestValidationError) -> Refusal:
    first: dict[str, Any] = error.errors()[0]
    place = [str(each) for each in first["loc"] if each not in ("body", "query", "path")]
    if first["type"] == "json_invalid":
        return Refusal(400, "the body is no JSON; send an object")
    name = ".".join(place)
    return Refusal(
        400, f"{name or 'the body'}: {first['msg'][:1].lower()}{first['msg'][1:]}", param=name or None
    )


def _one_line(message: str) -> str:
    plain = message.encode("utf-8", "replace").decode()  # half a surrogate pair is no text
    return " ".join(plain.split())[:MOST_TOLD]
