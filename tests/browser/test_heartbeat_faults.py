"""Mishaps that heartbeats get over: pauses, sleep, several tabs, and tokens or options that are not right."""

from playwright.async_api import Page

from tests.browser.modules import run

BEATS = """
    const sent = [], states = [];
    window.fetch = async (_, { body, signal }) => {
        signal.throwIfAborted();
        sent.push(JSON.parse(body));
        const answer = { ...JSON.parse(body), intervalSeconds: 10, ttlSeconds: 30 };
        return new Response(JSON.stringify(answer), { status: 202 });
    };
    const beats = (options = {}) => new m.Beats({ address: "", sessionId: "s", facilityId: null, lock: null,
        token: async () => "t", report: ({ state }) => states.push(state), ...options });
"""


async def test_a_facility_that_a_waiting_tab_sets_holds_for_the_tab_that_beats(page: Page) -> None:
    told = await run(
        page,
        "pulse/beats",
        BEATS
        + """const tab = () => beats({ lock: "of one session", isShared: true });
        const [first, second] = [tab(), tab()];
        first.start();
        await until(() => sent.length === 1);
        second.start();
        await until(() => states.includes("standby"));
        second.setFacility("f-2");
        await until(() => sent.length === 2);
        second.pause();
        second.start();
        await until(() => states.filter((state) => state === "standby").length === 2);
        first.setFacility("f-3");
        await until(() => sent.length === 3);
        await wait(50);
        first.pause();
        await until(() => sent.length === 4);
        second.pause();
        return sent.map(({ facilityId }) => facilityId ?? null);""",
    )
    assert told == [None, "f-2", "f-3", "f-3"]


async def test_a_facility_that_is_set_during_a_pause_or_before_the_beginning_holds_for_the_tab_that_beats(
    page: Page,
) -> None:
    told = await run(
        page,
        "pulse/beats",
        BEATS
        + """const tab = (options) => beats({ lock: "of one session", isShared: true, ...options });
        const [first, second, third] = [tab(), tab(), tab({ facilityId: "f-3", tellsFacility: true })];
        const standbys = () => states.filter((state) => state === "standby").length;
        first.start();
        await until(() => sent.length === 1);
        second.start();
        await until(() => standbys() === 1);
        second.pause();
        second.setFacility("f-2");
        second.start();
        await until(() => sent.length === 2);
        await until(() => standbys() === 2);
        third.start();
        await until(() => sent.length === 3);
        second.pause();
        second.start();
        await until(() => standbys() === 4);
        await wait(50);
        for (const each of [second, third, first]) each.pause();
        return sent.map(({ facilityId }) => facilityId ?? null);""",
    )
    assert told == [None, "f-2", "f-3"]


async def test_heartbeats_go_on_after_a_pause_while_a_token_is_asked_for(page: Page) -> None:
    count = await run(
        page,
        "pulse/beats",
        BEATS
        + """let give;
        const it = beats({ token: () => new Promise((resolve) => (give = resolve)) });
        it.start();
        it.pause();
        it.start();
        give("t");
        await wait();
        give("t");
        await until(() => sent.length);
        it.pause();
        return sent.length;""",
    )
    assert count == 1


async def test_waking_from_sleep_beats_although_one_clock_stood_still(page: Page) -> None:
    delays = await run(
        page,
        "pulse/beats",
        BEATS
        + """Math.random = () => 1;
        const it = beats();
        holdTimers();
        it.start();
        await wait();
        it.wake();
        const awake = waiting();
        const now = Date.now();
        Date.now = () => now + 3_600_000;
        it.wake();
        return [awake, waiting()];""",
    )
    assert delays == [[11_000], [300]]


async def test_a_token_that_a_fast_clock_takes_for_lapsed_is_used_until_it_is_refused(page: Page) -> None:
    asked = await run(
        page,
        "pulse/api",
        """const asked = [];
        const token = (n) => `x.${btoa(JSON.stringify({ iat: 0, exp: 300, n })).replace(/=+$/, "")}.y`;
        const tokens = new m.Tokens(({ fresh }) => (asked.push(fresh), token(asked.length)), () => 3_600_000);
        const first = await tokens.get();
        await tokens.get();
        await tokens.get({ refused: first });
        await tokens.get();
        return asked;""",
    )
    assert asked == [False, True]


async def test_a_token_that_never_comes_is_given_up(page: Page) -> None:
    told = await run(
        page,
        "pulse/api",
        """let asked = 0;
        const tokens = new m.Tokens(() => (++asked === 1 ? new Promise(() => {}) : "t"));
        holdTimers();
        const first = tokens.get().catch(({ code, message }) => [code, message]);
        await wait();
        fire(15_000);
        return [await first, await tokens.get(), waiting()];""",
    )
    assert told == [["no-token", "No access token: getToken did not answer within 15 s"], "t", []]


async def test_a_wrong_option_is_refused_and_an_undefined_one_is_left_out(page: Page) -> None:
    told = await run(
        page,
        "pulse",
        """const right = { api: "..", getToken: () => new Promise(() => {}), regions: false, heartbeat: false };
        const refused = (options) => {
            try {
                m.connect({ ...right, ...options }).close();
                return "";
            } catch (error) {
                return error instanceof TypeError ? error.message.split(" ")[1] : String(error);
            }
        };
        const wrong = [{ api: "" }, { getToken: "t" }, { regions: "r-1" }, { regions: [1] }, { regions: ["a b"] },
            { details: 1 }, { heartbeat: "yes" }, { facilityId: "a b" }, { facilityId: 7 }, { tabs: "both" },
            { sessionId: "" }];
        const names = Object.keys({ regions: 0, details: 0, heartbeat: 0, facilityId: 0, tabs: 0, sessionId: 0 });
        const unset = Object.fromEntries(names.map((name) => [name, undefined]));
        const fine = [unset, { regions: ["r-1"] }, { regions: true, facilityId: "f-1", sessionId: "s" }];
        const begun = m.connect({ ...right, ...unset, regions: false });
        await until(() => begun.sessionId);
        const sessionId = begun.sessionId;
        begun.close();
        return [wrong.map(refused), fine.map(refused), typeof sessionId];""",
    )
    names = "api getToken regions regions regions details heartbeat facilityId facilityId tabs sessionId"
    assert told == [names.split(), ["", "", ""], "string"]
