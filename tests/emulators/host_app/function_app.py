"""A function app with every trigger of the host; `SEEN_FILE` gets one JSON line for each invocation."""

import asyncio
import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import List  # noqa: UP035 (the worker refuses the built-in list here)

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


def record(kind: str, **details: object) -> None:
    line = {"kind": kind, "instance": os.environ["WEBSITE_INSTANCE_ID"], "at": time.time(), **details}
    with Path(os.environ["SEEN_FILE"]).open("a") as seen:
        seen.write(json.dumps(line) + "\n")


def answer(**values: object) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(values), mimetype="application/json")


@app.route("echo", methods=["GET", "POST"])
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    return answer(
        method=req.method,
        url=req.url,
        headers=dict(req.headers),
        params=dict(req.params),
        route=dict(req.route_params),
        body=req.get_body().decode("latin-1"),
        thread=threading.get_ident(),
    )


@app.route("fast", methods=["POST"])
async def fast(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(b'{"ok":true}', status_code=202, mimetype="application/json")


@app.route("items/{id:int}", methods=["GET"])
async def item_by_number(req: func.HttpRequest) -> func.HttpResponse:
    return answer(function="item_by_number", **req.route_params)


@app.route("items/{name}", methods=["GET"])
async def item_by_name(req: func.HttpRequest) -> func.HttpResponse:
    return answer(function="item_by_name", **req.route_params)


@app.route("items/special", methods=["GET"])
async def item_special(req: func.HttpRequest) -> func.HttpResponse:
    return answer(function="item_special", **req.route_params)


@app.route("files/{*path}")
async def files(req: func.HttpRequest) -> func.HttpResponse:
    return answer(function="files", method=req.method, **req.route_params)


@app.route("maybe/{word:alpha:length(2,4)?}")
async def maybe(req: func.HttpRequest) -> func.HttpResponse:
    return answer(function="maybe", **req.route_params)


@app.route("binary", methods=["POST"])
async def binary(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse(req.get_body()[::-1], status_code=201, mimetype="application/octet-stream")
    response.headers.add("Set-Cookie", "a=1; Path=/; HttpOnly")
    response.headers.add("Set-Cookie", "b=two; Secure")
    response.headers["X-Custom"] = "yes"
    return response


@app.route("fails")
async def fails(req: func.HttpRequest) -> func.HttpResponse:
    raise RuntimeError("on purpose")


@app.route("text")
def text(req: func.HttpRequest) -> str:
    return f"thread {threading.get_ident()}"


@app.route("wait", methods=["GET"])
async def wait(req: func.HttpRequest) -> func.HttpResponse:
    record("wait-started")
    await asyncio.sleep(float(req.params["seconds"]))
    record("wait-ended")
    return answer(waited=True)


@app.route("wait-sync", methods=["GET"])
def wait_sync(req: func.HttpRequest) -> func.HttpResponse:
    record("wait-started")
    time.sleep(float(req.params["seconds"]))
    return answer(waited=True)


@app.route("guarded", auth_level=func.AuthLevel.FUNCTION)
async def guarded(req: func.HttpRequest) -> func.HttpResponse:
    return answer(guarded=True)


@app.route("master", auth_level=func.AuthLevel.ADMIN)
async def master(req: func.HttpRequest) -> func.HttpResponse:
    return answer(master=True)


@app.route("setting/{name}")
async def setting(req: func.HttpRequest) -> func.HttpResponse:
    return answer(value=os.environ.get(req.route_params["name"]), cwd=str(Path.cwd()))


@app.route("chatty")
async def chatty(req: func.HttpRequest) -> func.HttpResponse:
    logging.getLogger("chatty").info("whispered")
    logging.getLogger("chatty").warning("shouted")
    return answer()


@app.route("switched-off")
async def switched_off(req: func.HttpRequest) -> func.HttpResponse:
    return answer()


@app.event_hub_message_trigger(
    "events", connection="Hub", event_hub_name="%HUB%", cardinality="many", consumer_group="%GROUP%"
)
async def ingest(events: List[func.EventHubEvent]) -> None:  # noqa: UP006
    received = time.time()
    metadata = events[0].metadata or {}
    bodies = [event.get_body().decode() for event in events]
    failing = any("fail" in body for body in bodies)
    record(
        "events",
        bodies=bodies,
        received=received,
        sequence=[event.sequence_number for event in events],
        offsets=[event.offset for event in events],
        enqueued=[event.enqueued_time.isoformat() for event in events if event.enqueued_time],
        keys=[event.partition_key for event in events],
        partition=metadata["PartitionContext"]["PartitionId"],
        metadata={name: value for name, value in metadata.items() if name.endswith("Array")},
        failing=failing,
    )
    if failing:
        raise ValueError("a bad batch")


@app.event_hub_message_trigger(
    "events", connection="Hub", event_hub_name="%HUB%", cardinality="many", consumer_group="patient"
)
@app.retry(strategy="fixed_delay", max_retry_count="-1", delay_interval="00:00:01")
async def patient(events: List[func.EventHubEvent], context: func.Context) -> None:  # noqa: UP006
    attempt = context.retry_context.retry_count
    bodies = [event.get_body().decode() for event in events]
    record("patient", bodies=bodies, attempt=attempt, sequence=[event.sequence_number for event in events])
    if any("fail" in body for body in bodies) and attempt < 2:
        raise ValueError("not yet")


@app.event_hub_message_trigger(
    "event", connection="Hub", event_hub_name="%HUB%", cardinality="one", consumer_group="single"
)
async def single(event: func.EventHubEvent) -> None:
    record("single", body=event.get_body().decode(), sequence=event.sequence_number, key=event.partition_key)


@app.timer_trigger("timer", "%TICK%", use_monitor=False)
async def tick(timer: func.TimerRequest) -> None:
    record("tick", past_due=timer.past_due)
    await asyncio.sleep(0.3)
    record("tick-ended")


@app.timer_trigger("timer", "0 0 0 1 1 *", run_on_startup=True)
def yearly(timer: func.TimerRequest) -> None:
    record("yearly", past_due=timer.past_due, status=getattr(timer, "schedule_status", None))


@app.generic_trigger("message", "redisPubSubTrigger", connection="Redis", channel="%CHANNEL%", pattern=False)
async def heard(message: str) -> None:
    record("heard", message=json.loads(message))
    if "slow" in message:
        await asyncio.sleep(0.2)
    record("heard-ended", message=json.loads(message)["Message"])


@app.generic_trigger("message", "redisPubSubTrigger", connection="Redis", channel="news.*", pattern=True)
async def heard_by_pattern(message: str) -> None:
    record("pattern", message=json.loads(message))
