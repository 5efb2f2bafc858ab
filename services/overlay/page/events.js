// The latest signs: one line each, from coming into view to leaving.

import { byId, duration, element, milliseconds, percent, setHidden, setText, sureness, timeOfDay } from "/format.js";
import { text } from "/language.js";

const TICK_MS = 1000;

class EventRow {
  constructor() {
    this.text = element("span", { class: "event-text" });
    this.phase = element("span", { class: "phase" });
    this.when = element("time");
    this.rest = element("span");
    const main = element("div", { class: "event-main" }, this.text, this.phase);
    this.root = element("li", { class: "event" }, main, element("div", { class: "event-meta quiet" }, this.when, this.rest));
  }

  show(event, now, seeing) {
    this.event = event;
    const open = event.phase !== "end";
    const inView = open && seeing;
    const lasted = (inView ? now : event.last_seen) - event.first_seen;
    setText(this.text, event.text);
    setText(this.phase, text(inView ? "events.inView" : open ? "events.unknown" : `events.${event.end_reason || "gone"}`));
    this.root.dataset.phase = inView ? "open" : "ended";
    setText(this.when, timeOfDay(event.first_seen, now));
    this.when.dateTime = new Date(event.first_seen * 1000).toISOString();
    const seen = text(inView ? "events.for" : "events.seenFor", { duration: duration(Math.max(0, lasted)) });
    const parts = [text("live.sure", { share: percent(event.confidence) }), seen];
    const others = new Set(event.before.filter((code) => code !== event.text));
    if (others.size) parts.push(text("events.alsoReadAs", { texts: [...others].join(", ") }));
    setText(this.rest, parts.join(" · "));
    this.rest.dataset.sureness = sureness(event.confidence);
    const { model, frames, latency_ms: latency } = event;
    this.root.title = text("events.by", { model, frames, latency: milliseconds(latency) });
  }
}

export class EventList {
  #connection;
  #rows = new Map();
  #told = null;
  #ahead = null; // how far the car's day time is ahead of ours, in seconds
  #seeing = false;

  constructor(connection) {
    this.#connection = connection;
    setInterval(() => this.#tick(), TICK_MS);
  }

  showServices(rows) {
    const state = Object.fromEntries(rows.map((row) => [row.name, row.state]));
    this.#seeing = ["ready", "degraded"].includes(state.recognizer);
  }

  show({ events, missed, wall }) {
    this.#ahead = wall - Date.now() / 1000;
    this.#announce(events);
    const list = byId("events");
    const rows = events.map((event) => {
      const row = this.#rows.get(event.id) ?? new EventRow();
      row.show(event, wall, this.#seeing);
      return row;
    });
    this.#rows = new Map(rows.map((row) => [row.event.id, row]));
    const wanted = rows.map((row) => row.root);
    if (wanted.some((root, index) => list.children[index] !== root) || list.childElementCount !== wanted.length) {
      list.replaceChildren(...wanted);
    }
    setHidden(list, !rows.length);
    setHidden(byId("events-note"), rows.length > 0);
    setText(byId("missed"), missed ? text("events.missed", { count: missed }) : "");
  }

  #tick() {
    if (this.#ahead === null || document.hidden) return;
    const now = Date.now() / 1000 + this.#ahead;
    for (const row of this.#rows.values()) row.show(row.event, now, this.#seeing && this.#connection.isOpen);
  }

  // Tells a screen reader what was decided since; not what was there when the page was opened.
  #announce(events) {
    const known = this.#told;
    this.#told = new Map(events.map((event) => [event.id, event.text]));
    if (known === null) return;
    const fresh = events.filter((event) => event.phase !== "end" && known.get(event.id) !== event.text);
    const sentences = fresh.slice(0, 3).map((event) => {
      const code = [...event.text].join(" ").replaceAll("?", text("events.unreadable"));
      return text(known.has(event.id) ? "events.corrected" : "events.new", { code, share: percent(event.confidence) });
    });
    if (sentences.length) setText(byId("announcer"), sentences.join(" "));
    for (const { id } of fresh) {
      const root = this.#rows.get(id)?.root;
      root?.classList.remove("fresh");
      requestAnimationFrame(() => this.#rows.get(id)?.root.classList.add("fresh"));
    }
  }
}
