"""The tool that sends the studio malformed requests sees a fault; its run of ten thousand has no place in a test."""

import pytest

pytest.importorskip(
    "schemathesis", reason="its group is fuzz: uv run --group fuzz pytest tests/test_fuzz_studio.py"
)

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from tools.fuzz_studio import fuzzed

pytestmark = pytest.mark.filterwarnings("default")  # the tool's own


def app_that_answers(status: int, detail: str) -> FastAPI:
    app = FastAPI()

    @app.get("/half/{number}")
    def half(number: int) -> JSONResponse:
        return JSONResponse({"detail": detail}, status)

    return app


def test_a_fault_and_a_refusal_of_many_lines_are_seen_and_nothing_else() -> None:
    assert fuzzed(app_that_answers(400, "too much"), list, 20).total() >= 20
    with pytest.raises(AssertionError, match="500"):
        fuzzed(app_that_answers(500, "sorry"), list, 20)
    with pytest.raises(AssertionError, match="line 2"):
        fuzzed(app_that_answers(400, "line 1\nline 2"), list, 20)
