// The live view: the picture on a canvas, what was read in that very picture drawn over it, and its age.

import { byId, milliseconds, seconds, setHidden, setText } from "/format.js";
import { drawMarks } from "/marks.js";
import { showCodes } from "/codes.js";

const STALE_MS = 1000;
const TICK_MS = 100;
const RATE_WINDOW_MS = 2000;
const DESCRIBE_EVERY_MS = 1000;

export class LiveView {
  #connection;
  #picture = null;
  #shownAt = [];
  #describedAt = 0;
  #services = {};
  #stage = byId("stage");
  #canvas = byId("picture");
  #marks = byId("marks");

  constructor(connection) {
    this.#connection = connection;
    setInterval(() => this.#tick(), TICK_MS);
    new ResizeObserver(() => this.#drawMarks()).observe(this.#stage);
  }

  async show(picture) {
    let bitmap = null;
    try {
      bitmap = await createImageBitmap(picture.jpeg);
    } catch {
      return; // a damaged picture: the last one stays, and grows stale
    } finally {
      this.#connection.ready();
    }
    const { width, height } = bitmap;
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      Object.assign(this.#canvas, { width, height });
      this.#stage.style.setProperty("--shape", width / height);
    }
    this.#canvas.getContext("2d", { alpha: false }).drawImage(bitmap, 0, 0);
    bitmap.close();
    delete picture.jpeg;
    this.#picture = picture;
    this.#shownAt.push(performance.now());
    this.#drawMarks();
    this.#tick();
  }

  showServices(rows) {
    this.#services = Object.fromEntries(rows.map((row) => [row.name, row]));
    const { capture } = this.#services;
    setText(byId("source"), capture?.details?.source ?? "");
  }

  #drawMarks() {
    if (this.#picture) drawMarks(this.#marks, this.#picture, this.#stage.clientWidth);
  }

  #tick() {
    const age = this.#picture && this.#connection.clock.age(this.#picture.captured);
    const freshness = !this.#picture ? "none" : age !== null && age <= STALE_MS ? "fresh" : "stale";
    this.#stage.dataset.freshness = freshness;
    this.#showAge(freshness, age);
    this.#showCodes(freshness);
    this.#showFacts(freshness);
    this.#describe(freshness);
  }

  #showAge(freshness, age) {
    const badge = byId("age-badge");
    const words = age === null ? "of unknown age" : freshness === "stale" ? `${seconds(age / 1000)} old` : milliseconds(age);
    setHidden(badge, freshness === "none");
    if (freshness === "fresh") {
      setText(badge, `live · ${Math.round(age)} ms`);
      setText(byId("fact-age"), `${Math.round(age)} ms old`);
    } else if (freshness === "stale") {
      setText(badge, `stale · ${words}`);
      setText(byId("fact-age"), words);
    }
    const note = byId("stage-note");
    setHidden(note, freshness === "fresh");
    if (freshness !== "fresh") setText(byId("stage-words"), this.#whyNoPicture(freshness));
  }

  // In words: why there is nothing new to see.
  #whyNoPicture(freshness) {
    if (!this.#connection.isOpen) return "No connection to the car.";
    const { capture } = this.#services;
    if (!capture) return "Waiting for the car…";
    if (capture.state === "ready") return freshness === "none" ? "Waiting for the first picture…" : "No new picture comes.";
    const reason = capture.reason || `it is ${capture.state}`;
    return `No picture: capture is ${capture.state}. ${reason[0].toUpperCase()}${reason.slice(1)}.`;
  }

  #showCodes(freshness) {
    const reading = this.#picture?.reading;
    const codes = freshness === "fresh" ? (reading?.codes ?? []) : [];
    showCodes(byId("codes"), codes);
    setHidden(byId("codes"), !codes.length);
    const note = byId("codes-note");
    setHidden(note, codes.length > 0);
    if (freshness === "none") setText(note, "Nothing read yet.");
    else if (freshness === "stale") setText(note, "What was read in this picture is out of date.");
    else if (reading) setText(note, "No code in view.");
    else setText(note, this.#whyUnread());
  }

  #whyUnread() {
    const { recognizer } = this.#services;
    if (!recognizer || recognizer.state === "ready") return "This picture has not been read.";
    const reason = recognizer.reason ? `: ${recognizer.reason}` : "";
    return `This picture has not been read. The recognizer is ${recognizer.state}${reason}.`;
  }

  #showFacts(freshness) {
    const now = performance.now();
    this.#shownAt = this.#shownAt.filter((at) => now - at < RATE_WINDOW_MS);
    const fresh = freshness === "fresh";
    const shown = this.#shownAt.length / (RATE_WINDOW_MS / 1000);
    setText(byId("fact-shown"), fresh ? `${shown.toFixed(0)} pictures/s` : "–");
    const camera = this.#services.capture?.state === "ready" ? this.#services.capture.rates.frames : undefined;
    setText(byId("fact-camera"), camera === undefined ? "–" : `${camera.toFixed(1)} frames/s`);
    const reading = fresh ? this.#picture.reading : null;
    setText(byId("fact-latency"), reading ? milliseconds(reading.latency_ms) : "–");
    const model = this.#picture?.reading?.model;
    setText(byId("fact-model"), model ? `${model.name} ${model.version}` : "–");
    byId("fact-model").title = model ? `manifest ${model.digest}` : "";
  }

  // The picture in words, for those who can't see it; at most once a second.
  #describe(freshness) {
    const now = performance.now();
    if (now - this.#describedAt < DESCRIBE_EVERY_MS) return;
    this.#describedAt = now;
    const codes = this.#picture?.reading?.codes.map(({ text }) => text) ?? [];
    const words = {
      none: "No picture yet",
      stale: "An old picture from the camera",
      fresh: codes.length ? `Live picture; read in it: ${codes.join(", ")}` : "Live picture; no code in view",
    };
    this.#canvas.setAttribute("aria-label", words[freshness]);
  }
}
