// The state of each service, in its own words.

import { byId, duration, element, milliseconds, setHidden, setText } from "/format.js";

const WELL = new Set(["ready", "off", "starting"]);
const AND = new Intl.ListFormat("en", { type: "conjunction" });
const WORDS = { off: "off", ready: "ready", starting: "starting", degraded: "degraded", failed: "failed" };

const readable = (name) => name.replaceAll(/[._]/g, " ");

class ServiceCard {
  constructor(name) {
    this.title = element("h3", {}, name);
    this.pill = element("span", { class: "pill" });
    this.about = element("p", { class: "quiet about" });
    this.reason = element("p", { class: "reason" });
    this.facts = element("dl", { class: "facts small" });
    this.more = element("dl", { class: "more-list" });
    this.details = element("details", {}, element("summary", {}, "More"), this.more);
    const head = element("div", { class: "service-head" }, this.title, this.pill);
    this.root = element("li", { class: "card service" }, head, this.about, this.reason, this.facts, this.details);
  }

  show(row) {
    this.root.dataset.state = this.pill.dataset.state = row.state;
    setText(this.pill, WORDS[row.state] ?? row.state);
    setText(this.about, row.about);
    setText(this.reason, row.reason);
    setHidden(this.reason, !row.reason);
    const alive = row.state in WORDS;
    list(this.facts, alive ? facts(row) : []);
    setHidden(this.facts, !alive);
    list(this.more, more(row));
    setHidden(this.details, !this.more.childElementCount);
  }
}

// Reuses what is there, so that neither an open list nor a reader's place is lost.
function list(target, pairs) {
  while (target.childElementCount > pairs.length) target.lastElementChild.remove();
  pairs.forEach(([term, value], index) => {
    const pair = target.children[index] ?? target.appendChild(element("div", {}, element("dt"), element("dd")));
    setText(pair.firstElementChild, term);
    setText(pair.lastElementChild, value);
  });
}

// The car as a whole: what a person asks about first.
function whole(glance) {
  const pairs = [["model", glance.model || "none"], ["broker", glance.broker || "none"]];
  if (glance.backlog) pairs.push(["waiting for the broker", `${glance.backlog.toLocaleString()} events`]);
  pairs.push(["memory, all", `${glance.memory_mb.toFixed(0)} MB`]);
  pairs.push(["processor, all", `${glance.processor_percent.toFixed(0)} % of a core`]);
  const { model, temperature_c: warmth, under_voltage: weak, throttled } = glance.board;
  if (model) pairs.push(["board", model]);
  if (warmth !== null) pairs.push(["temperature", `${warmth.toFixed(0)} °C`]);
  if (weak) pairs.push(["power", "under-voltage: use a stronger supply"]);
  else if (throttled) pairs.push(["processor", "throttled"]);
  return pairs;
}

function facts(row) {
  const pairs = [];
  const rates = Object.entries(row.rates).filter(([, rate]) => rate > 0);
  for (const [name, rate] of rates.slice(0, 1)) pairs.push([readable(name), `${rate.toFixed(1)}/s`]);
  const medians = Object.entries(row.latency_ms).filter(([name]) => name.endsWith(".p50"));
  for (const [name, value] of medians.slice(0, 1)) pairs.push([`${readable(name.slice(0, -4))}, median`, milliseconds(value)]);
  pairs.push(["memory", row.memory_mb ? `${row.memory_mb.toFixed(0)} MB` : "–"]);
  pairs.push(["processor", `${row.processor_percent.toFixed(0)} %`]);
  pairs.push(["running for", duration(row.uptime_s)]);
  if (row.restarts) pairs.push(["restarts", row.restarts.toLocaleString()]);
  return pairs;
}

function more(row) {
  if (row.pid === undefined) return [];
  const pairs = [["process", String(row.pid)], ["last heard", `${row.age_s.toFixed(1)} s ago`]];
  for (const [name, value] of Object.entries(row.details)) pairs.push([readable(name), value]);
  for (const [name, value] of Object.entries(row.latency_ms)) pairs.push([readable(name), milliseconds(value)]);
  for (const [name, value] of Object.entries(row.counters)) pairs.push([`${readable(name)}, total`, value.toLocaleString()]);
  return pairs;
}

export class ServiceList {
  #cards = new Map();

  show(rows, glance) {
    list(byId("glance"), whole(glance));
    setHidden(byId("glance"), false);
    for (const row of rows) {
      let card = this.#cards.get(row.name);
      if (!card) {
        card = new ServiceCard(row.name);
        this.#cards.set(row.name, card);
        byId("services").append(card.root);
      }
      card.show(row);
    }
    const unwell = rows.filter((row) => !WELL.has(row.state));
    const names = AND.format(unwell.map((row) => row.name));
    const words = unwell.length ? `${names} ${unwell.length > 1 ? "need" : "needs"} attention` : "all services are well";
    setText(byId("summary"), words);
    byId("summary").dataset.state = unwell.length ? "degraded" : "ready";
  }

  // The car can't be asked any more: what was known is no longer known.
  forget() {
    setText(byId("summary"), "");
    setHidden(byId("glance"), true);
    for (const card of this.#cards.values()) {
      card.root.dataset.state = card.pill.dataset.state = "unknown";
      setText(card.pill, "unknown");
      setText(card.reason, "The page has no connection to the car, so the state of this service is not known.");
      setHidden(card.reason, false);
      setHidden(card.facts, true);
    }
  }
}
