/** Elements without markup: whatever comes from data becomes text. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with properties and children. `class`, `aria-…`, `data-…`, `role` and what is not a property become
 * attributes; functions become listeners by their event's name (`onclick`); null and false children are left out.
 */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function s(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name in element && !(element instanceof SVGElement) && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A name from data: on its own in its writing direction, so that it cannot disturb the text around it. */
export function name(text, properties = {}) {
  return h("bdi", { class: "name", title: text, ...properties }, text);
}

/** Makes `children` the children of `parent`, touching only what is not in place: a click or a focus stays with the rest. */
export function arrange(parent, children) {
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  children.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}

/** Sets a text only if it is another one, so that nothing is laid out, or read aloud, for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const PATHS = {
  online: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13zM5.2 8.2l2 2 3.8-4.2",
  offline: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13zM5.7 5.7l4.6 4.6M10.3 5.7l-4.6 4.6",
  never: "M8 1.5a6.5 6.5 0 1 1 0 13a6.5 6.5 0 0 1 0-13zM5 8h6",
  search: "M7 2.2a4.8 4.8 0 1 1 0 9.6a4.8 4.8 0 0 1 0-9.6zM10.6 10.6l3.4 3.4",
  warning: "M8 2l6.3 11.5H1.7zM8 6.5v3M8 11.6v.1",
  back: "M9.5 3.5L5 8l4.5 4.5",
  pulse: "M1 8.6h3L5.6 4l3 8.5 1.8-3.9H15",
  person: "M8 8.2a2.9 2.9 0 1 0 0-5.8a2.9 2.9 0 0 0 0 5.8zM2.6 14c.5-2.9 2.6-4.3 5.4-4.3s4.9 1.4 5.4 4.3",
  close: "M4 4l8 8M12 4l-8 8",
  chevron: "M4.5 6.5L8 10l3.5-3.5",
};

/** A small line drawing; decorative, the text beside it says the same. */
export function icon(which, properties = {}) {
  return s(
    "svg",
    { class: "icon", viewBox: "0 0 16 16", "aria-hidden": "true", focusable: "false", ...properties },
    s("path", { d: PATHS[which] }),
  );
}
