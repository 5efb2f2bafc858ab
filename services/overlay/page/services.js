// The state of each service, in its own words.

import { byId, duration, element, milliseconds, number, seconds, setHidden, setSaid, setText } from "/format.js";
import { language, text } from "/language.js";

const WELL = new Set(["ready", "off", "starting"]);
const AND = new Intl.ListFormat(language, { type: "conjunction" });
const ALIVE = new Set(["off", "ready", "starting", "degraded", "failed"]);

const readable = (name) => name.replaceAll(/[._]/g, " ");
const megabytes = (value) => text("unit.megabytes", { value: value.toFixed(0) });
const rounded = (percentage) => text("unit.percent", { value: percentage.toFixed(0) });

class ServiceCard {
  constructor(name) {
    this.title = element("h3", { translate: false }, name);
    this.pill = element("span", { class: "pill" });
    this.about = element("p", { class: "quiet about" });
    this.reason = element("p", { class: "reason" });
    this.facts = element("dl", { class: "facts small", translate: false });
    this.more = element("dl", { class: "more-list", translate: false });
    this.details = element("details", {}, element("summary", {}, text("services.more")), this.more);
    const head = element("div", { class: "service-head" }, this.title, this.pill);
    this.root = element("li", { class: "card service" }, head, this.about, this.reason, this.facts, this.details);
  }

  show(row) {
    this.root.dataset.state = this.pill.dataset.state = row.state;
    setText(this.pill, text(`state.${row.state}`));
    setSaid(this.about, row.about, `about.${row.name}`);
    setSaid(this.reason, row.reason);
    setHidden(this.reason, !row.reason);
    const alive = ALIVE.has(row.state);
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
  const { backlog: count } = glance;
  const pairs = [
    [text("services.model"), glance.model || text("services.none")],
    [text("services.broker"), glance.broker || text("services.none")],
  ];
  if (count) pairs.push([text("services.backlog"), text("services.events", { count, value: number(count) })]);
  pairs.push([text("services.memoryAll"), megabytes(glance.memory_mb)]);
  pairs.push([text("services.processorAll"), text("services.ofACore", { share: rounded(glance.processor_percent) })]);
  const { model, temperature_c: warmth, under_voltage: weak, throttled } = glance.board;
  if (model) pairs.push([text("services.board"), model]);
  if (warmth !== null) pairs.push([text("services.temperature"), `${warmth.toFixed(0)} °C`]);
  if (weak) pairs.push([text("services.power"), text("services.underVoltage")]);
  else if (throttled) pairs.push([text("services.processor"), text("services.throttled")]);
  return pairs;
}

function facts(row) {
  const pairs = [];
  const rates = Object.entries(row.rates).filter(([, rate]) => rate > 0);
  for (const [name, rate] of rates.slice(0, 1)) pairs.push([readable(name), text("unit.perSecond", { value: rate.toFixed(1) })]);
  const medians = Object.entries(row.latency_ms).filter(([name]) => name.endsWith(".p50"));
  for (const [name, value] of medians.slice(0, 1)) pairs.push([text("services.median", { name: readable(name.slice(0, -4)) }), milliseconds(value)]);
  pairs.push([text("services.memory"), row.memory_mb ? megabytes(row.memory_mb) : "–"]);
  pairs.push([text("services.processor"), rounded(row.processor_percent)]);
  pairs.push([text("services.uptime"), duration(row.uptime_s)]);
  if (row.restarts) pairs.push([text("services.restarts"), number(row.restarts)]);
  return pairs;
}

function more(row) {
  if (row.pid === undefined) return [];
  const heard = text("services.ago", { duration: seconds(row.age_s) });
  const pairs = [[text("services.process"), String(row.pid)], [text("services.lastHeard"), heard]];
  for (const [name, value] of Object.entries(row.details)) pairs.push([readable(name), value]);
  for (const [name, value] of Object.entries(row.latency_ms)) pairs.push([readable(name), milliseconds(value)]);
  for (const [name, value] of Object.entries(row.counters)) pairs.push([text("services.total", { name: readable(name) }), number(value)]);
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
    const words = unwell.length ? text("services.needAttention", { count: unwell.length, names }) : text("services.allWell");
    setText(byId("summary"), words);
    byId("summary").dataset.state = unwell.length ? "degraded" : "ready";
  }

  // The car can't be asked any more: what was known is no longer known.
  forget() {
    setText(byId("summary"), "");
    setHidden(byId("glance"), true);
    for (const card of this.#cards.values()) {
      card.root.dataset.state = card.pill.dataset.state = "unknown";
      setText(card.pill, text("state.unknown"));
      setText(card.reason, text("services.notKnown"));
      setHidden(card.reason, false);
      setHidden(card.facts, true);
    }
  }
}
