"""The bridge to Microsoft's Python worker (`azure-functions-runtime`), which runs in this very process."""

import asyncio
import importlib
import json
import logging
import os
import random
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from azure_functions_runtime import loader, native_invocation
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.bindings.meta import load_binding_registry
from azure_functions_runtime.handle_event import _functions as registry
from azure_functions_runtime.utils import threadpool

from emulators.host.errors import StartupError
from emulators.host.logs import current_function

__all__ = ["Datum", "Function", "Invocation", "RetryOptions", "Worker"]

SUPPORTED_TRIGGERS = ("httpTrigger", "eventHubTrigger", "timerTrigger", "redisPubSubTrigger")


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """A function's retry policy; durations in seconds, a `max_retry_count` of -1 means without end."""

    max_retry_count: int
    retry_strategy: str
    delay_interval: timedelta | None = None
    minimum_interval: timedelta | None = None
    maximum_interval: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """One indexed function: its trigger's binding as in function.json, and where its HTTP answer goes."""

    name: str
    function_id: str
    trigger: dict[str, Any]
    http_output: str | None
    retry: RetryOptions | None

    @property
    def parameter(self) -> str:
        """The name of the parameter that receives the trigger's value."""
        return str(self.trigger["name"])


@dataclass(slots=True)
class Invocation:
    """What came of one call: `value` is the datum of the return value or of the HTTP output binding."""

    ok: bool
    value: Any
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _FunctionMetadata:
    # Named like the fields of the worker protocol's RpcFunctionMetadata, which the loader fills.
    name: str
    function_id: str
    managed_dependency_enabled: bool
    directory: str
    script_file: str
    entry_point: str
    is_proxy: bool
    language: str
    bindings: dict[str, Any]
    raw_bindings: list[str]
    retry_options: RetryOptions | None
    properties: dict[str, str]


class _BindingInfo(SimpleNamespace):
    undefined, out, inout = 0, 1, 2


setattr(_BindingInfo, "in", 0)
# What the loader wants of the generated protobuf module.
_PROTOS = SimpleNamespace(BindingInfo=_BindingInfo, RpcFunctionMetadata=_FunctionMetadata, RpcRetryOptions=RetryOptions)


@dataclass(slots=True)
class Worker:
    """Indexes one application and invokes its functions on the running event loop."""

    functions: list[Function] = field(default_factory=list)
    _running: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def load(self, app: Path) -> None:
        """Imports and indexes `function_app.py`; raises StartupError with the reason in one line.

        The working directory becomes the application's, as in Azure.
        """
        script = os.environ.get("PYTHON_SCRIPT_FILE_NAME", "function_app.py")
        if not (app / script).is_file():
            raise StartupError(f"{app / script} is missing; a function app of the Python v2 model needs it")
        os.chdir(app)
        sys.path.insert(0, str(app))
        importlib.invalidate_caches()
        load_binding_registry()
        threadpool.start_threadpool_executor()
        with _quiet_worker():
            try:
                indexed = loader.index_function_app(str(app / script))
                metadata, _ = loader.process_indexed_function(_PROTOS, registry, indexed, str(app))
            # An application may end its import by SystemExit; whatever it raises becomes our one line.
            except (Exception, SystemExit) as error:
                raise StartupError(_describe(error, app)) from error
        self.functions = [_function(entry) for entry in metadata]

    async def invoke(
        self,
        function: Function,
        value: Datum,
        metadata: dict[str, Datum],
        retry_count: int = 0,
        max_retry_count: int = 0,
    ) -> Invocation:
        """Runs a function once with the trigger's `value`; its exception is logged and told, never raised."""
        self._running += 1
        token = current_function.set(function.name)
        try:
            ok, returned, outputs, error, _ = await native_invocation.invocation_request_native(
                _invocation_id(),
                function.function_id,
                [(function.parameter, value)],
                metadata,
                retry_count=retry_count,
                max_retry_count=max_retry_count,
            )
        finally:
            current_function.reset(token)
            self._running -= 1
            if not self._running:
                self._idle.set()
        if function.http_output not in (None, "$return"):
            returned = dict(outputs).get(function.http_output)
        return Invocation(ok, returned, error)

    async def drain(self, seconds: float) -> int:
        """Waits until nothing runs, at most `seconds`; returns how many invocations are left."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._running:
            self._idle.clear()
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                break
            try:
                await asyncio.wait_for(self._idle.wait(), remaining)
            except TimeoutError:
                break
        return self._running

    def close(self) -> None:
        """Ends the thread pool of synchronous functions without waiting for one that hangs."""
        executor = threadpool.get_threadpool_executor()
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)


def _invocation_id() -> str:
    # Shaped like a GUID; uuid4 asks the system for randomness each time, which this needs not.
    digits = f"{random.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


@contextmanager
def _quiet_worker() -> Iterator[None]:
    # The loader logs an import error with its traceback and the whole sys.path before it raises it.
    level = loader.logger.level
    loader.logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        loader.logger.setLevel(level)


def _describe(error: BaseException, app: Path) -> str:
    message = str(error).partition(". Cannot find module.")[0].strip()
    line = " ".join(message.split()) or type(error).__name__
    if not isinstance(error, SystemExit) and type(error).__name__ not in {"ValueError", "FunctionLoadError"}:
        line = f"{type(error).__name__}: {line}"
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{line} ({error.filename}:{error.lineno})"
    for frame in reversed(frames):
        if Path(frame.filename).is_relative_to(app) and "site-packages" not in frame.filename:
            return f"{line} ({frame.filename}:{frame.lineno})"
    return line


def _function(metadata: _FunctionMetadata) -> Function:
    bindings: list[dict[str, Any]] = [json.loads(text) for text in metadata.raw_bindings]
    trigger = next((binding for binding in bindings if str(binding["type"]).lower().endswith("trigger")), None)
    if trigger is None:
        raise StartupError(f"function {metadata.name}: it has no trigger")
    if trigger["type"] not in SUPPORTED_TRIGGERS:
        raise StartupError(
            f"function {metadata.name}: this host has no {trigger['type']}; it has {', '.join(SUPPORTED_TRIGGERS)}"
        )
    http_output = None
    for binding in bindings:
        if binding is trigger:
            continue
        if binding["type"] != "http":
            raise StartupError(f"function {metadata.name}: this host has no {binding['type']} binding")
        http_output = str(binding["name"])
    return Function(metadata.name, metadata.function_id, trigger, http_output, metadata.retry_options)
