"""The web application: predictions, health, metrics, and pages that describe them."""

import asyncio
import hmac
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from commands.predictor import Predictor
from commands.serve.answers import Form, Meaning, answer, image_of
from commands.serve.batching import Batcher, side_by_side
from commands.serve.bodies import Refused, drain, form_of, pixels_of, read_body, sample_of
from commands.serve.exported import ExportedPredictor
from commands.serve.metrics import Metrics
from commands.serve.page import description, page
from commands.serve.turns import Turns
from modules.contracts import ConfigError, DataError, from_here

UNDER_WAY = 4  # images of the most pixels that may be decoded and unanswered at once
AT_LEAST = 200_000_000  # pixels of them, where few are allowed


class Limits(NamedTuple):
    """Limits of a server.

    Args:
        max_bytes: of a request.
        timeout: seconds in which it must be here.
        max_requests: requests under way at most; more are answered by 503.
        batch_size: samples that go through the network together at most.
        batch_timeout: seconds that a sample waits for others.
        workers: threads that decode.
    """

    max_bytes: int
    timeout: float = 30.0
    max_requests: int = 256
    batch_size: int = 16
    batch_timeout: float = 0.005
    workers: int = 2


class Service:
    """Predictions for requests.

    Args:
        predictor: the network with its preprocessing.
        limits: of requests and batches.
        token: that requests must bear; null takes any.
    """

    def __init__(self, predictor: Predictor | ExportedPredictor, limits: Limits, token: str | None = None):
        self.predictor, self.limits, self.token = predictor, limits, token
        self.meaning, self.metrics = Meaning.of(predictor.classes, predictor.data), Metrics()
        self.batcher: Any = None  # while it runs
        self.decoders: ThreadPoolExecutor | None = None
        self.turns = Turns(max(UNDER_WAY * predictor.max_pixels, AT_LEAST))

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """Threads that decode and predict, while the application runs; what is under way is finished."""
        limits = self.limits
        predicts = side_by_side(self.predictor)
        self.batcher = Batcher(predicts, limits.batch_size, limits.batch_timeout, self.metrics)
        self.decoders = ThreadPoolExecutor(limits.workers, "decode")
        yield
        self.decoders.shutdown()
        self.batcher.close()

    async def predict(self, request: Request) -> Response:
        """Answer a request for a prediction; never raises."""
        begun = time.monotonic()
        self.metrics.begin()
        response = error(500, "the server failed; its log says why")
        try:
            response = await self._predict(request)
        except Refused as refused:
            if "expect" not in request.headers:  # else the client waits for leave to send it
                await drain(request.stream(), 10 * self.limits.max_bytes, min(2.0, self.limits.timeout))
            response = error(refused.code, str(refused))
        except ClientDisconnect:
            response = error(499, "the client has gone")
        except (DataError, ConfigError) as wrong:
            response = error(422, " ".join(str(wrong).split()))
        except Exception:  # a request must not end the server
            logging.getLogger(__name__).exception("a request failed")
        finally:
            self.metrics.end(response.status_code, time.monotonic() - begun)
        return response

    async def _predict(self, request: Request) -> Response:
        self.check(request)
        if self.metrics.in_progress > self.limits.max_requests:
            raise Refused(503, f"{self.limits.max_requests} requests are under way: send this one again later")
        chosen = self.predictor.threshold
        form = form_of(request.query_params, chosen if isinstance(chosen, list) else 0.0)
        headers = request.headers
        length, limits = headers.get("content-length"), self.limits
        body = await read_body(request.stream(), length, limits.max_bytes, limits.timeout)
        sample = sample_of(self.predictor.kind, headers.get("content-type", ""), body)
        pixels = pixels_of(sample, self.predictor.max_pixels) if self.predictor.kind == "image" else 0
        async with self.turns.take(pixels):
            return await self._answer(sample, form, headers.get("accept", ""))

    async def _answer(self, sample: Any, form: Form, accept: str) -> Response:
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self.decoders, self.predictor.prepare, sample)
        found = await self.batcher(prepared)
        if accept.startswith("image/png"):
            drawn = await loop.run_in_executor(self.decoders, image_of, found, self.meaning)
            if drawn is None:
                raise Refused(406, "the prediction is no image: leave Accept: image/png out")
            return Response(drawn, media_type="image/png")
        if found.keys() & {"mask", "rle", "generated", "features"}:  # to be encoded, which takes a moment
            return JSONResponse(await loop.run_in_executor(self.decoders, answer, found, self.meaning, form))
        return JSONResponse(answer(found, self.meaning, form))

    def check(self, request: Request) -> None:
        """Check the token.

        Raises:
            Refused: a token is needed, and the request bears another or none.
        """
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if self.token and not (scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), self.token.encode())):
            raise Refused(401, "the header Authorization: Bearer TOKEN is missing or has another token")

    def health(self) -> dict[str, Any]:
        """Facts about the service."""
        predictor = self.predictor
        return {
            "status": "ok",
            "task": predictor.name,
            "checkpoint": str(from_here(predictor.checkpoint)),
            "input": predictor.kind,
            "classes": predictor.classes,
            "threshold": predictor.threshold,
        }


def build_app(service: Service) -> FastAPI:
    """The application of a service."""
    title, kind = f"{service.predictor.name} by Graft", service.predictor.kind
    names = service.predictor.conditions or []
    app = FastAPI(title=title, lifespan=service.running, docs_url=None, redoc_url=None)  # they load from the network

    @app.post("/predict", summary="Predict one sample", openapi_extra=description(kind, bool(service.token)))
    async def predict(request: Request) -> Response:
        return await service.predict(request)

    @app.get("/health", summary="The task, and that it is ready")
    async def health() -> dict[str, Any]:
        return service.health()

    @app.get("/metrics", summary="Counters in Prometheus' text format", response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        service.check(request)
        return PlainTextResponse(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/", include_in_schema=False)
    async def start() -> HTMLResponse:
        return HTMLResponse(page(title, kind, service.health(), app.openapi(), bool(service.token), names))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, fault: HTTPException) -> Response:
        said = f"{request.method} {request.url.path[:80]}: {fault.detail}; there is POST /predict"
        return error(fault.status_code, said, fault.headers)

    @app.exception_handler(Refused)
    async def refused(request: Request, fault: Refused) -> Response:
        return error(fault.code, str(fault))

    return app


def error(code: int, sentence: str, headers: Any = None) -> JSONResponse:
    """A response that says in one sentence what is wrong."""
    headers = dict(headers or {})
    headers |= {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}.get(code, {})
    headers |= {"Connection": "close"} if code in (401, 408, 413, 415, 503) else {}  # the rest of it is not read
    return JSONResponse({"error": sentence}, code, headers)
