"""AUTOMATIC1111's HTTP API, for the programs that speak it."""

from inkpunk_studio.http.a1111.addresses import router

__all__ = ["router"]
