"""Who may call: by which name, from which page, with which token, and with how large a body.

Each guard wraps what is behind it, as ASGI has it, so that no address of the studio is forgotten:

    install(app, settings)
"""

import hashlib
import hmac
import socket
from base64 import b64decode
from collections.abc import Iterator
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inkpunk_studio.http.refusing import Refusal, answer_to
from inkpunk_studio.settings import Settings

OPEN_PATH = "/v1/images/files/"
"""Addresses under it need no token, and any page may show them: they cannot be guessed, and expire."""
CONTAINER_NAMES = ("host.docker.internal", "host.containers.internal")
"""What containers call their machine; no name server of others answers for them."""
COOKIE = "inkpunk_studio"
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
}
USUAL_PORTS = {"http": ":80", "https": ":443"}


def install(app: FastAPI, settings: Settings) -> None:
    """Lay all guards around an application."""
    app.add_middleware(Guard, settings=settings)


class Guard:
    """All guards, in their order: names, origins, tokens, sizes."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        guarded: ASGIApp = BodyGuard(app, settings.most_body)
        if settings.token is not None:
            guarded = TokenGuard(guarded, settings.token)
        if settings.origins:
            guarded = CORSMiddleware(
                guarded, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["*"]
            )
        guarded = OriginGuard(guarded, settings.origins)
        self._app = HostGuard(guarded, settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let what is behind answer."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_safely)


class HostGuard:
    """Refuses to be called by a name that is not ours, such as one that its owner points here (DNS rebinding)."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        named = [settings.host, *settings.hosts, "localhost", *CONTAINER_NAMES]
        if not settings.is_local:
            own = socket.gethostname()
            named += [own, f"{own}.local"]
        self._names = {_name(each) for each in named}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let pass what names this machine."""
        hosts = Headers(scope=scope).getlist("host") if scope["type"] in ("http", "websocket") else None
        if hosts is None or (len(hosts) == 1 and self._is_ours(_name(hosts[0]))):
            await self._app(scope, receive, send)
            return
        told = repr(hosts[0][:80]) if hosts else "none"
        await refuse(
            Refusal(421, f"host {told}: is no name of this server; if it is, start the studio with --name"),
            scope,
            receive,
            send,
        )

    def _is_ours(self, name: str) -> bool:
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True  # an address is nobody's to point elsewhere


class OriginGuard:
    """Refuses what a browser asks for in the name of a page that is neither ours nor allowed."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        self._app, self._origins = app, {each.rstrip("/").lower() for each in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let pass what our own pages, pages that are allowed, and other programs than browsers ask for."""
        if scope["type"] not in ("http", "websocket") or self._may(scope):
            await self._app(scope, receive, send)
            return
        message = "another page than the studio's own calls; if you trust it, start the studio with --origin"
        await refuse(Refusal(403, message), scope, receive, send)

    def _may(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        if origins:
            return len(origins) == 1 and (
                "*" in self._origins
                or origins[0].lower() in self._origins
                or _authority(origins[0]) == _plain(headers.get("host", ""), _scheme(origins[0]))
            )
        if headers.get("sec-fetch-site") not in ("cross-site", "same-site"):
            return True
        if scope["path"].startswith(OPEN_PATH):
            return True
        return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


class TokenGuard:
    """Demands the token: by Authorization's Bearer, as the password of its Basic, or by a link that browsers keep."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._token = app, token.encode()
        self._cookie = hmac.digest(self._token, COOKIE.encode(), "sha256").hex()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let pass who shows it."""
        if scope["type"] not in ("http", "websocket") or scope["path"].startswith(OPEN_PATH):
            await self._app(scope, receive, send)
            return
        if self._is_shown(Headers(scope=scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "GET" and self._is_linked(scope):
            await self._kept(scope)(scope, receive, send)
        else:
            message = "a token is needed; send it as Authorization: Bearer, or as the password of any user"
            await refuse(Refusal(401, message), scope, receive, send)

    def _is_shown(self, headers: Headers) -> bool:
        if any(is_same(each, self._token) for each in shown(headers.get("authorization", ""))):
            return True
        return is_same(_cookie(headers), self._cookie.encode())

    def _is_linked(self, scope: Scope) -> bool:
        told = dict(_query(scope)).get("token", "")
        return is_same(told.encode(), self._token)

    def _kept(self, scope: Scope) -> RedirectResponse:
        """To the same address without the token, which the browser shows from now on by itself."""
        rest = urlencode([(name, value) for name, value in _query(scope) if name != "token"])
        path = "/" + scope["path"].lstrip("/\\")  # "//elsewhere" would lead away
        answer = RedirectResponse(path + (f"?{rest}" if rest else ""), status_code=303)
        answer.set_cookie(COOKIE, self._cookie, httponly=True, samesite="lax")
        return answer


class BodyGuard:
    """Refuses a body that is larger than allowed, told so or not, before more of it is taken."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let pass bodies that are small enough."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = Headers(scope=scope).get("content-length", "0")
        if not told.isdecimal() or len(told) > 18 or int(told) > self._most:
            await self._refuse(scope, receive, send)
            return
        size, started, too_large = 0, False, False

        async def counted() -> Message:
            nonlocal size, too_large
            message = await receive()
            size += len(message.get("body", b"")) if message["type"] == "http.request" else 0
            if size > self._most:
                too_large = True
                raise BodyTooLargeError
            return message

        async def unless_too_large(message: Message) -> None:
            nonlocal started
            if too_large and not started:
                return  # whatever is said of a body that could not be read: it is answered below
            started = True
            await send(message)

        try:
            await self._app(scope, counted, unless_too_large)
        except BodyTooLargeError:
            if started:
                raise
        if too_large and not started:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"the body is larger than {self._most:,} bytes; send fewer or smaller pictures"
        await refuse(Refusal(413, message), scope, receive, send)


class BodyTooLargeError(Exception):
    """More of a body has come than is allowed."""


async def refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a refusal; a websocket is not opened."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.message[:100]})
        return
    answer = answer_to(refusal)
    if refusal.status == 401:
        answer.headers["WWW-Authenticate"] = 'Basic realm="inkpunk studio", charset="UTF-8"'
    await answer(scope, receive, send)


def is_same(told: bytes, token: bytes) -> bool:
    """Whether two secrets are the same, in a time that tells nothing of either."""
    return hmac.compare_digest(hashlib.sha256(told).digest(), hashlib.sha256(token).digest())


def shown(authorization: str) -> Iterator[bytes]:
    """What an Authorization header may mean as the token.

    Clients of AUTOMATIC1111's API send Basic of USER:PASSWORD, or of whatever their user has typed.
    """
    kind, _, value = authorization.strip().partition(" ")
    if kind.lower() == "bearer":
        yield value.strip().encode()
    elif kind.lower() == "basic":
        try:
            told = b64decode(value.strip(), validate=True)
        except ValueError:
            return
        yield told
        yield told.partition(b":")[2]


def _cookie(headers: Headers) -> bytes:
    try:
        kept = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return b""
    return kept.value.encode() if kept else b""


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)


def _name(host: str) -> str:
    """The name or address in HOST or HOST:PORT, in lower case and without brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    if host.count(":") > 1:
        return host  # an address of version 6, as settings have it
    return host.partition(":")[0].rstrip(".")


def _scheme(origin: str) -> str:
    return origin.partition("://")[0].lower()


def _authority(origin: str) -> str:
    """The HOST:PORT of an origin, without a port that is the usual one; "" where it has none."""
    try:
        return _plain(urlsplit(origin).netloc, _scheme(origin))
    except ValueError:
        return ""


def _plain(authority: str, scheme: str) -> str:
    return authority.lower().removesuffix(USUAL_PORTS.get(scheme, " "))
