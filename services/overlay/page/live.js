// The live view: the picture on a canvas, what was read in that very picture drawn over it, and its age.

import { byId, milliseconds, seconds, setHidden, setText } from "/format.js";
import { said, text } from "/language.js";
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
    const words = age === null ? text("live.ofUnknownAge") : text("live.old", { age: age < STALE_MS ? milliseconds(Math.round(age)) : seconds(age / 1000) });
    setHidden(badge, freshness === "none");
    if (freshness === "fresh") setText(badge, text("live.fresh", { age: text("unit.ms", { value: Math.round(age) }) }));
    else if (freshness === "stale") setText(badge, text("live.stale", { age: words }));
    if (freshness !== "none") setText(byId("fact-age"), words);
    const note = byId("stage-note");
    setHidden(note, freshness === "fresh");
    if (freshness !== "fresh") setText(byId("stage-words"), this.#whyNoPicture(freshness));
  }

  // In words: why there is nothing new to see.
  #whyNoPicture(freshness) {
    if (!this.#connection.isOpen) return text("live.noConnection");
    const { capture } = this.#services;
    if (!capture) return text("live.waitingForCar");
    if (capture.state === "ready") return text(freshness === "none" ? "live.waiting" : "live.noNewPicture");
    const state = text(`state.${capture.state}`);
    if (!capture.reason) return text("live.noPicture", { state });
    const reason = said(capture.reason);
    return text("live.noPictureBecause", { state, reason });
  }

  #showCodes(freshness) {
    const reading = this.#picture?.reading;
    const codes = freshness === "fresh" ? (reading?.codes ?? []) : [];
    showCodes(byId("codes"), codes);
    setHidden(byId("codes"), !codes.length);
    const note = byId("codes-note");
    setHidden(note, codes.length > 0);
    if (freshness === "none") setText(note, text("live.nothingRead"));
    else if (freshness === "stale") setText(note, text("live.outOfDate"));
    else if (reading) setText(note, text("live.noCode"));
    else setText(note, this.#whyUnread());
  }

  #whyUnread() {
    const { recognizer } = this.#services;
    if (!recognizer || recognizer.state === "ready") return text("live.unread");
    const state = text(`state.${recognizer.state}`);
    const reason = said(recognizer.reason);
    return text(reason ? "live.recognizerIsBecause" : "live.recognizerIs", { state, reason });
  }

  #showFacts(freshness) {
    const now = performance.now();
    this.#shownAt = this.#shownAt.filter((at) => now - at < RATE_WINDOW_MS);
    const fresh = freshness === "fresh";
    const shown = this.#shownAt.length / (RATE_WINDOW_MS / 1000);
    setText(byId("fact-shown"), fresh ? text("live.pictures", { value: shown.toFixed(0) }) : "–");
    const camera = this.#services.capture?.state === "ready" ? this.#services.capture.rates.frames : undefined;
    setText(byId("fact-camera"), camera === undefined ? "–" : text("live.frames", { value: camera.toFixed(1) }));
    const reading = fresh ? this.#picture.reading : null;
    setText(byId("fact-latency"), reading ? milliseconds(reading.latency_ms) : "–");
    const model = this.#picture?.reading?.model;
    setText(byId("fact-model"), model ? `${model.name} ${model.version}` : "–");
    byId("fact-model").title = model ? text("live.manifest", { digest: model.digest }) : "";
  }

  // The picture in words, for those who can't see it; at most once a second.
  #describe(freshness) {
    const now = performance.now();
    if (now - this.#describedAt < DESCRIBE_EVERY_MS) return;
    this.#describedAt = now;
    const codes = this.#picture?.reading?.codes.map((code) => code.text).join(", ");
    const words = {
      none: text("live.describeNone"),
      stale: text("live.describeStale"),
      fresh: text(codes ? "live.describeCodes" : "live.describeEmpty", { codes }),
    };
    this.#canvas.setAttribute("aria-label", words[freshness]);
  }
}
