/** The Web Worker: heartbeats on timers that the browser does not slow down when the tab is hidden. */

import { Beats } from "./beats.js";

const asked = new Map();
let beats = null;
let lastQuestion = 0;

/** The page has the tokens; it is asked before each heartbeat. */
function token({ refused }) {
  const question = ++lastQuestion;
  return new Promise((resolve, reject) => {
    asked.set(question, { resolve, reject });
    postMessage({ type: "token", question, refused });
  });
}

onmessage = ({ data }) => {
  switch (data.type) {
    case "begin":
      beats = new Beats({ ...data.options, token, report: (state) => postMessage({ type: "state", state }) });
      beats.start();
      break;
    case "token": {
      const { resolve, reject } = asked.get(data.question);
      asked.delete(data.question);
      if (data.token) resolve(data.token);
      else reject(Object.assign(new Error(data.message), { code: "no-token" }));
      break;
    }
    case "command":
      beats[data.name](...data.values);
  }
};

postMessage({ type: "ready" });
