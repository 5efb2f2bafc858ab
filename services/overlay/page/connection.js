// The WebSocket to the car: keeps it open, rests while the page is hidden, and knows the car's clock.

import { language, text } from "/language.js";

const SYNC_EVERY_MS = 2000;
const RETRY_MS = [300, 700, 1500, 3000, 5000];
const SAMPLES = 12;
const TOO_MANY = 1013;

// How far the car's monotonic clock is ahead of ours. An answer that took `trip` ms bounds it to ± trip/2;
// the quickest of the last answers knows best, unless a newer one contradicts it (a laptop slept, the car
// was started anew).
class CarClock {
  #samples = [];

  heard(sent, received, now) {
    const trip = received - sent;
    const sample = { ahead: now - (sent + received) / 2, doubt: trip / 2 };
    const agrees = (other) => Math.abs(other.ahead - sample.ahead) <= other.doubt + sample.doubt + 1;
    this.#samples = [...this.#samples.filter(agrees), sample].slice(-SAMPLES);
  }

  forget() {
    this.#samples = [];
  }

  // Milliseconds since `carTime`, at the most; null while the car's clock isn't known.
  age(carTime) {
    if (!this.#samples.length) return null;
    const best = this.#samples.reduce((one, other) => (other.doubt < one.doubt ? other : one));
    return Math.max(0, performance.now() + best.ahead + best.doubt - carTime);
  }
}

export class Connection extends EventTarget {
  clock = new CarClock();
  #socket = null;
  #failures = 0;
  #retry = 0;
  #decoder = new TextDecoder();

  start() {
    document.addEventListener("visibilitychange", () => this.#visibility());
    setInterval(() => this.#sync(), SYNC_EVERY_MS);
    this.#open();
  }

  // The last picture is drawn: one more, please.
  ready() {
    if (!document.hidden) this.#send({ type: "ready" });
  }

  // A change of `kind` never came: everything anew, please.
  missed(kind) {
    this.#send({ type: kind });
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  #open() {
    clearTimeout(this.#retry);
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/live`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.clock.forget();
      this.#visibility();
    };
    socket.onmessage = ({ data }) => this.#take(data);
    socket.onclose = ({ code }) => this.#closed(code);
    this.#socket = socket;
  }

  #visibility() {
    if (!this.isOpen) {
      if (!document.hidden && this.#socket?.readyState === WebSocket.CLOSED) this.#open();
      return;
    }
    this.#send({ type: document.hidden ? "rest" : "look" });
    this.#sync();
    this.ready();
  }

  #sync() {
    if (!document.hidden) this.#send({ type: "clock", sent: performance.now() });
  }

  #send(message) {
    if (this.isOpen) this.#socket.send(JSON.stringify(message));
  }

  #take(data) {
    if (typeof data !== "string") {
      this.#emit("picture", this.#unpack(data));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "clock") {
      this.clock.heard(message.sent, performance.now(), message.now);
      return;
    }
    this.#failures = 0;
    this.#emit("state", { open: true });
    this.#emit(message.type, message);
  }

  // Length of the header (4 bytes, big-endian), header (JSON), JPEG.
  #unpack(buffer) {
    const length = new DataView(buffer).getUint32(0);
    const header = JSON.parse(this.#decoder.decode(new Uint8Array(buffer, 4, length)));
    return { ...header, jpeg: new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }) };
  }

  async #closed(code) {
    const wait = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)];
    const full = code === TOO_MANY;
    this.#retry = setTimeout(() => this.#open(), full ? RETRY_MS.at(-1) : wait);
    this.#emit("state", { open: false, sentence: full ? text("connection.full") : await this.#why() });
  }

  // A refused WebSocket doesn't tell a page why; a plain request does.
  async #why() {
    try {
      const answer = await fetch("/api/status", {
        headers: { "Accept-Language": language },
        signal: AbortSignal.timeout(3000),
      });
      if (answer.ok) return text("connection.interrupted");
      return await answer.text();
    } catch {
      return text("connection.noServer");
    }
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
