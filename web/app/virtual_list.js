/** A list of any length of which only what is on the screen exists. Scrolls with the page. */

const OVERSCAN = 600;

/**
 * Shows `items`, each `{key, kind}`, in a container. `kinds` maps a kind to `{height, create(item)}`; `create` returns
 * `{element, update(item)}`; `height` is a CSS variable on the container, so that it follows the screen's width.
 */
export class VirtualList {
  #container;
  #kinds;
  #items = [];
  #offsets = [0];
  #heights = {};
  #rows = new Map();
  #frame = 0;
  #over = new AbortController();

  constructor(container, kinds) {
    this.#container = container;
    this.#kinds = kinds;
    const { signal } = this.#over;
    addEventListener("scroll", () => this.#soon(), { passive: true, signal });
    this.#measure();
    const observer = new ResizeObserver(() => {
      this.#measure();
      this.#place();
    });
    observer.observe(document.documentElement);
    signal.addEventListener("abort", () => observer.disconnect());
    container.addEventListener("keydown", (event) => this.#move(event), { signal });
  }

  /** Rows that exist now, as `[item, row]`. */
  *visible() {
    for (const { item, row } of this.#rows.values()) yield [item, row];
  }

  show(items) {
    this.#items = items;
    this.#place();
  }

  destroy() {
    this.#over.abort();
    cancelAnimationFrame(this.#frame);
  }

  #measure() {
    const style = getComputedStyle(this.#container);
    const pixels = parseFloat(getComputedStyle(document.documentElement).fontSize);
    for (const [kind, { height }] of Object.entries(this.#kinds)) {
      const value = style.getPropertyValue(height).trim();
      this.#heights[kind] = value.endsWith("rem") ? parseFloat(value) * pixels : parseFloat(value) || 56;
    }
  }

  #place() {
    let offset = 0;
    this.#offsets = this.#items.map((item) => (offset += this.#heights[item.kind]));
    this.#offsets.unshift(0);
    this.#container.style.height = `${offset}px`;
    this.#render();
  }

  #soon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render();
    });
  }

  #render() {
    const top = -this.#container.getBoundingClientRect().top;
    const first = this.#at(top - OVERSCAN);
    const last = this.#at(top + innerHeight + OVERSCAN);
    const focused = document.activeElement?.closest?.("[data-key]")?.dataset.key;
    const wanted = new Set();
    let before = null;
    for (let index = first; index <= last && index < this.#items.length; index++) {
      const item = this.#items[index];
      wanted.add(item.key);
      before = this.#put(item, index, before);
    }
    for (const [key, { row }] of this.#rows) {
      if (wanted.has(key)) continue;
      // Who has the focus keeps it, wherever the page is scrolled to, as long as it is in the list.
      const index = key === focused ? this.#items.findIndex((item) => item.key === key) : -1;
      if (index >= 0) {
        this.#put(this.#items[index], index, undefined);
        continue;
      }
      row.element.remove();
      this.#rows.delete(key);
    }
  }

  #put(item, index, before) {
    let known = this.#rows.get(item.key);
    if (!known) {
      const row = this.#kinds[item.kind].create(item);
      row.element.dataset.key = item.key;
      known = { row };
      this.#rows.set(item.key, known);
    }
    const { element } = known.row;
    known.item = item;
    known.row.update(item);
    element.style.transform = `translateY(${this.#offsets[index]}px)`;
    element.setAttribute("aria-rowindex", index + 2); // the heading is the first row
    // In the order of the list, for Tab and screen readers; only what is not there yet moves.
    const next = before === null ? this.#container.firstElementChild : before?.nextElementSibling;
    if (before !== undefined && next !== element) {
      if (document.activeElement && element.contains(document.activeElement)) return before;
      this.#container.insertBefore(element, next ?? null);
    } else if (!element.isConnected) {
      this.#container.append(element);
    }
    return element;
  }

  /** The index of the item at a vertical position. */
  #at(y) {
    let low = 0;
    let high = this.#items.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#offsets[middle + 1] <= y) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low);
  }

  /** Arrow keys go from link to link, Home and End to the first and the last. */
  #move(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    const key = event.target.closest("[data-key]")?.dataset.key;
    if (step === undefined || key === undefined || !event.target.matches("a")) return;
    event.preventDefault();
    const targets = this.#items.map((item, index) => [item, index]).filter(([item]) => item.kind !== "group");
    const at = targets.findIndex(([item]) => item.key === key);
    const [item, index] = targets[Math.min(Math.max(at + step, 0), targets.length - 1)];
    this.#scrollTo(index);
    this.#render();
    this.#rows.get(item.key)?.row.element.querySelector("a")?.focus({ preventScroll: true });
  }

  #scrollTo(index) {
    const box = this.#container.getBoundingClientRect();
    const top = box.top + this.#offsets[index];
    const bottom = box.top + this.#offsets[index + 1];
    const header = document.querySelector("#header").offsetHeight + 48;
    if (top < header) scrollBy(0, top - header);
    else if (bottom > innerHeight - 64) scrollBy(0, bottom - innerHeight + 64);
  }
}
