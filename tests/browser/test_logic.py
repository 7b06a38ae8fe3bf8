"""The rules of pulse.js by themselves, run in the browser: backoff, Retry-After, tokens, and the state of a region."""

from typing import Any

from playwright.async_api import Page


async def run(page: Page, module: str, code: str) -> Any:
    """What a piece of JavaScript returns that has the module as `m`."""
    return await page.evaluate(f"async () => {{ const m = await import('./pulse/{module}.js'); {code} }}")


async def test_backoff_has_full_jitter_and_a_limit(page: Page) -> None:
    delays = await run(
        page,
        "retry",
        """return [1, 2, 3, 4, 5, 9, 99].map((failures) =>
            [0, 0.5, 1].map((value) => m.backoff(failures, { random: () => value })));""",
    )
    assert [low for low, _, _ in delays] == [0] * 7
    assert [high for _, _, high in delays] == [2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
    assert [2 * middle for _, middle, _ in delays] == [high for _, _, high in delays]
    assert await run(page, "retry", "return m.backoff(1, { retryAfter: 5000, random: () => 0 })") == 5_000


async def test_retry_after_in_both_forms(page: Page) -> None:
    values = await run(
        page,
        "retry",
        """const now = Date.parse("2026-11-21T07:00:00Z");
        const dates = ["Sat, 21 Nov 2026 07:00:07 GMT", "Sat, 21 Nov 2026 06:00:00 GMT"];
        return [null, "3", " 0 ", "-1", "soon", ...dates, "99999"]
            .map((value) => m.retryAfterOf(new Headers(value === null ? {} : { "Retry-After": value }), now));""",
    )
    assert values == [0, 3_000, 0, 0, 0, 7_000, 0, 600_000]


async def test_a_token_is_renewed_a_minute_or_a_fifth_of_its_life_before_its_end(page: Page) -> None:
    times = await run(
        page,
        "api",
        """const token = (claims) => `x.${btoa(JSON.stringify(claims)).replace(/=+$/, "")}.y`;
        return [{ iat: 0, exp: 3600 }, { iat: 0, exp: 100 }, { exp: 1000 }, {}]
            .map((claims) => m.renewalTime(token(claims))).concat(m.renewalTime("opaque")).map(String);""",
    )
    assert times == ["3540000", "80000", "940000", "Infinity", "Infinity"]


async def test_tokens_are_asked_for_once_by_however_many(page: Page) -> None:
    asked = await run(
        page,
        "api",
        """let asked = 0;
        const tokens = new m.Tokens(async ({ fresh }) => { asked += 1; return fresh ? "second" : "first"; });
        const first = await Promise.all([tokens.get(), tokens.get(), tokens.get()]);
        const second = await Promise.all([tokens.get({ refused: "first" }), tokens.get({ refused: "first" })]);
        return [first, second, await tokens.get({ refused: "first" }), asked];""",
    )
    assert asked == [["first"] * 3, ["second"] * 2, "second", 2]


async def test_heartbeats_are_jittered_and_a_wake_does_not_wait_for_the_backoff(page: Page) -> None:
    """Which delays the timers are given, with the least and the greatest chance."""
    delays = await run(
        page,
        "beats",
        """const wait = () => new Promise((resolve) => realTimeout(resolve, 20));
        const realTimeout = window.setTimeout;
        const body = JSON.stringify({ sessionId: "s", intervalSeconds: 10, ttlSeconds: 30 });
        const answers = { ok: () => new Response(body, { status: 202 }), down: () => { throw new TypeError("down"); } };
        const delaysOf = async (answer, chance, then = () => 0) => {
            const delays = [];
            window.fetch = async () => answers[answer]();
            Math.random = () => chance;
            window.setTimeout = (_, delay) => (delays.push(delay), 0);
            const token = async () => "t";
            const beats = new m.Beats({ address: "", sessionId: "s", lock: null, token, report() {} });
            beats.start();
            await wait();
            then(beats);
            window.setTimeout = realTimeout;
            return delays.map(Math.round);
        };
        return [await delaysOf("ok", 0), await delaysOf("ok", 1), await delaysOf("ok", 1, (beats) => beats.wake()),
            await delaysOf("down", 1), await delaysOf("down", 1, (beats) => beats.wake())];""",
    )
    assert delays == [[9_000], [11_000], [11_000], [2_000], [2_000, 300]]


async def test_a_pages_life_reaches_its_heartbeats(page: Page) -> None:
    """With a worker that only listens: what each event of the page has it do, and what the page sends itself."""
    told = await run(
        page,
        "heartbeats",
        """const posted = [], sent = [];
        let worker;
        window.Worker = class {
            constructor() { worker = this; }
            terminate() {}
            postMessage(each) { posted.push(each); }
        };
        window.fetch = async (url, options) => { sent.push([url, options.keepalive, JSON.parse(options.body)]); };
        const options = { address: "https://x.example/api", sessionId: "s", facilityId: null, tabs: "shared" };
        const heartbeats = new m.Heartbeats(options, { current: "t" }, () => {});
        heartbeats.start();
        heartbeats.command("setStatus", "busy");
        worker.onmessage({ data: { type: "ready" } });
        worker.onmessage({ data: { type: "state", state: { state: "ok", leads: true } } });
        for (const event of ["online", "focus"]) dispatchEvent(new Event(event));
        for (const event of ["resume", "visibilitychange"]) document.dispatchEvent(new Event(event));
        dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
        dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
        dispatchEvent(new PageTransitionEvent("pageshow", { persisted: false }));
        return [posted[0].options.agentStatus, posted.slice(1).map(({ name }) => name), sent];""",
    )
    leave = ["https://x.example/api/heartbeat", True, {"sessionId": "s", "leaving": True}]
    assert told == ["busy", ["wake", "wake", "wake", "wake", "pause", "start"], [leave]]


REGION = """
    const at = (second) => `2026-11-21T07:00:0${second}.000Z`;
    const item = (id, version, status = "online") =>
        ({ facilityId: id, name: `Name ${id}`, countyId: "c", status, since: at(version), sessions: 1, version,
           reason: "heartbeat", lastSeen: null });
    const snapshot = (sequence, ...facilities) =>
        ({ regionId: "r", asOf: at(0), sequence, stale: false, facilities });
    const status = (sequence, ...changes) => ({ type: "facility.status", regionId: "r", sequence, changes });
    const region = new m.Region("r");
    const shown = () => [...region.facilities.values()].map(({ facilityId, version, status }) =>
        `${facilityId} ${version} ${status}`);
"""


async def test_messages_after_a_snapshot_are_applied_in_order(page: Page) -> None:
    result = await run(
        page,
        "region",
        REGION
        + """region.receive(status(4, item("a", 2)));
        region.receive(status(6, item("b", 3, "offline")));
        const loaded = region.load(snapshot(5, item("a", 2), item("b", 2)));
        const repeated = region.receive(status(6, item("b", 9)));
        const old = region.receive(status(7, item("a", 1, "offline"), item("b", 4)));
        return [loaded.changed.map(({ facilityId }) => facilityId), loaded.needsSnapshot, repeated.changed.length,
            old.changed.map(({ facilityId }) => facilityId), region.sequence, shown()];""",
    )
    assert result == [["a", "b"], False, 0, ["b"], 7, ["a 2 online", "b 4 online"]]


async def test_a_gap_asks_for_a_snapshot_and_shows_meanwhile_what_is_known(page: Page) -> None:
    result = await run(
        page,
        "region",
        REGION
        + """region.load(snapshot(5, item("a", 1), item("b", 1)));
        const gap = region.receive(status(8, item("a", 2, "offline")));
        const still = region.receive(status(9, item("a", 3)));
        const short = region.load(snapshot(6, item("a", 1), item("b", 2, "offline")));
        const older = region.load(snapshot(5));
        const full = region.load(snapshot(7, item("a", 1), item("b", 3)));
        return [gap.needsSnapshot, still.needsSnapshot, short.needsSnapshot, older.isOlder, full.needsSnapshot,
            region.sequence, shown()];""",
    )
    assert result == [True, True, True, True, False, 9, ["a 3 online", "b 3 online"]]


async def test_what_is_gone_is_told(page: Page) -> None:
    result = await run(
        page,
        "region",
        REGION
        + """region.load(snapshot(1, item("a", 1), item("b", 1)));
        const removed = region.receive(status(2, { facilityId: "a", status: "removed", version: 2 }));
        const loaded = region.load(snapshot(2));
        const unknown = region.receive(status(3, item("new", 1)));
        return [removed.changed, loaded.changed].map((all) => all.map(({ facilityId, status }) => facilityId + status))
            .concat([[unknown.needsSnapshot]], [shown()]);""",
    )
    assert result == [["aremoved"], ["bremoved"], [True], ["new 1 online"]]


async def test_stale_and_alerts_are_numbered_like_the_rest(page: Page) -> None:
    result = await run(
        page,
        "region",
        REGION
        + """region.load(snapshot(1));
        const stale = (sequence, stale) => region.receive({ type: "presence.stale", sequence, stale, since: at(3) });
        const alert = (sequence) => region.receive({ type: "facility.alert", sequence }).alert !== null;
        return [stale(2, true).staleChanged, region.staleSince, alert(3), alert(3), stale(3, false).staleChanged,
            stale(4, false).staleChanged, region.stale, region.load(snapshot(4)).staleChanged];""",
    )
    assert result == [True, "2026-11-21T07:00:03.000Z", True, False, False, True, False, False]


async def test_garbage_is_refused_and_nothing_held_is_lost(page: Page) -> None:
    result = await run(
        page,
        "region",
        REGION
        + """region.load(snapshot(1, item("a", 1)));
        const garbage = [null, {}, { sequence: "1", facilities: [] }, { sequence: 2, facilities: [{ facilityId: 7 }] }];
        const refused = garbage.map((each) => { try { region.load(each); return ""; } catch (e) { return e.name; } });
        for (const message of [{}, { sequence: 1.5 }, status(2), { ...status(3), changes: [null, 7, {}] }]) {
            region.receive(message);
        }
        region.load(snapshot(3, { ...item("a", 2), name: { html: 1 }, since: "soon", sessions: "many" }));
        const { name, since, sessions } = region.facilities.get("a");
        return [refused, name, since, sessions, region.sequence];""",
    )
    assert result == [["TypeError"] * 4, "a", None, 0, 3]


async def test_a_day_is_cut_into_stretches(page: Page) -> None:
    result = await page.evaluate(
        """async () => {
            const { stretches } = await import("./app/charts.js");
            const at = (hour) => Date.UTC(2026, 10, 21, hour);
            const change = (version, status, hour) => ({ version, status, at: new Date(at(hour)).toISOString() });
            const shown = (all) => all.map(({ status, start, end }) => `${status} ${(end - start) / 3600000}`);
            const now = { status: "online", version: 9, since: new Date(at(20)).toISOString() };
            return [
                stretches([], [], at(0), at(24)),
                stretches([], [{ ...now, version: 1 }], at(0), at(24)),
                stretches([change(8, "offline", 10), change(7, "online", 4)], [now], at(0), at(24)),
                stretches([change(9, "online", 20)], [{ ...now, status: "offline", since: null }], at(0), at(24)),
                stretches([change(7, "online", 4)], [], at(6), at(24)),
                stretches([change(7, "online", 4)], [{ ...now, version: 7 }, { ...now, version: 8, status: "offline" },
                    { ...now, since: new Date(at(22)).toISOString() }], at(0), at(24)),
            ].map(shown);
        }"""
    )
    assert result == [
        ["never 24"],
        ["never 20", "online 4"],
        ["offline 4", "online 6", "offline 10", "online 4"],
        ["offline 20", "online 4"],
        ["online 18"],
        ["offline 4", "online 16", "offline 2", "online 2"],
    ]
