/** A facility's status. */

import { h, icon } from "./dom.js";
import * as format from "./format.js";

/** A status as a drawing and a word: colour alone tells nobody anything. */
export function statusBadge() {
  const element = h("span", { class: "badge" });
  const word = h("span", {});
  let shown = null;
  return {
    element,
    update(status) {
      if (status === shown) return;
      shown = status;
      element.dataset.status = status;
      word.textContent = format.STATUS_NAMES[status];
      element.replaceChildren(icon(status), word);
    },
  };
}
