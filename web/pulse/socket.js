/** One WebSocket of Azure Web PubSub: opened, listened to, and given up when nothing more is heard from it. */

const PROTOCOL = "json.webpubsub.azure.v1";
const OPEN_WITHIN = 10_000;
const QUIET = 20_000;
const ANSWER_WITHIN = 10_000;

/** `heard(message)` gets what groups and the user are sent; `lost()` is called once, after `opened()` or instead. */
export class Socket {
  #socket;
  #handlers;
  #timer;
  #isOver = false;

  constructor(url, handlers) {
    this.#handlers = handlers;
    this.#socket = new WebSocket(url, PROTOCOL);
    this.#socket.onmessage = ({ data }) => this.#hear(data);
    this.#socket.onclose = () => this.#end();
    this.#timer = setTimeout(() => this.#end(), OPEN_WITHIN);
  }

  /** Asks whether anybody is there; soon it is known. */
  probe() {
    if (this.#isOver || this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send('{"type":"ping"}');
    this.#wait(ANSWER_WITHIN, () => this.#end());
  }

  /** Closes it, without a call of `lost`. */
  close() {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#socket.close(1000);
  }

  #wait(milliseconds, then) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, milliseconds);
  }

  #hear(data) {
    if (this.#isOver) return;
    // A connection that died without a word looks open for long: it is asked when it has been quiet.
    this.#wait(QUIET, () => this.probe());
    let envelope;
    try {
      envelope = JSON.parse(data);
    } catch {
      return; // not for us to understand
    }
    if (envelope?.type === "system" && envelope.event === "connected") this.#handlers.opened();
    else if (envelope?.type === "system" && envelope.event === "disconnected") this.#end();
    else if (envelope?.type === "message" && envelope.data !== null && typeof envelope.data === "object") {
      this.#handlers.heard(envelope.data);
    }
  }

  #end() {
    if (this.#isOver) return;
    this.close();
    this.#handlers.lost();
  }
}
