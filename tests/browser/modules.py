"""Runs a module of the client or of the dashboard by itself, in a page that has no scripts of its own."""

from typing import Any

from playwright.async_api import Page

TOOLS = """
    const realTimeout = window.setTimeout;
    const wait = (milliseconds = 20) => new Promise((resolve) => realTimeout(resolve, milliseconds));
    const until = async (holds) => { for (let i = 0; i < 500 && !holds(); i++) await wait(); };
    /** Timers that only the test lets run. */
    const timers = [];
    const holdTimers = () => {
        window.setTimeout = (run, delay) => timers.push({ run, delay: Math.round(delay) });
        window.clearTimeout = (id) => { if (timers[id - 1]) timers[id - 1].isOver = true; };
    };
    const waiting = () => timers.filter(({ isOver }) => !isOver).map(({ delay }) => delay);
    const fire = (delay) => {
        const timer = timers.find((each) => !each.isOver && each.delay === delay);
        timer.isOver = true;
        timer.run();
    };
    const main = document.createElement("main");
    main.id = "main";
    document.body.append(main);
"""


async def run(page: Page, module: str, code: str) -> Any:
    """What a piece of JavaScript returns that has the module as `m` and the tools above."""
    return await page.evaluate(f"async () => {{ const m = await import('./{module}.js'); {TOOLS} {code} }}")
