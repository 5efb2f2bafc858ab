// The car's models: which one reads, the others, and a new one on its way.

import { ask } from "/ask.js";
import { byId, element, milliseconds, percent, setHidden, setSaid, setText, timeOfDay } from "/format.js";
import { language, said, text } from "/language.js";

const STATES = {
  active: "models.stateActive",
  previous: "models.statePrevious",
  factory: "models.stateFactory",
  kept: "models.stateKept",
  damaged: "models.stateDamaged",
  unreadable: "models.stateUnreadable",
};
const ENDED = new Set(["active", "kept", "refused", "fallen_back", "interrupted"]);
const MAX_BYTES = 128 * 2 ** 20;

const share = (value) => (value === null ? "–" : text("unit.percent", { value: (value * 100).toFixed(1) }));
const title = (model) => `${model.name} ${model.version}`;
const subject = (step) => (step.model ? title(step.model) : step.file);

class ModelRow {
  constructor(panel) {
    this.name = element("h3", { translate: false });
    this.pill = element("span", { class: "pill" });
    this.origin = element("p", { class: "quiet" });
    this.facts = element("p", { class: "models-facts" });
    this.use = element("button", { type: "button", class: "small" }, text("models.use"));
    this.use.addEventListener("click", () => panel.activate(this.row));
    this.compare = element("button", { type: "button", class: "small" }, text("models.compare"));
    this.compare.addEventListener("click", () => panel.compare(this.row));
    this.remove = element("button", { type: "button", class: "small" }, text("models.remove"));
    this.remove.addEventListener("click", () => panel.remove(this.row));
    const head = element("div", { class: "models-head" }, this.name, this.pill);
    const tools = element("div", { class: "models-tools" }, this.use, this.compare, this.remove);
    this.root = element("li", { class: "model" }, head, this.origin, this.facts, tools);
  }

  show(row, { trial, pinned }, busy) {
    this.row = row;
    const onTrial = row.model.digest === trial;
    const model = title(row.model);
    const state = onTrial ? "models.stateTrial" : row.state === "active" && pinned ? "models.stateActivePinned" : STATES[row.state];
    setText(this.name, model);
    setText(this.pill, text(state));
    this.root.dataset.state = this.pill.dataset.state = row.state === "active" ? "ready" : onTrial ? "starting" : "off";
    const origin = text(`models.origin.${row.origin}`);
    setText(this.origin, [origin, row.file, row.signed ? text("models.signed") : ""].filter(Boolean).join(" · "));
    const speed = row.latency_ms === null ? "–" : row.latency_ms < 0.1 ? text("models.fast") : milliseconds(row.latency_ms);
    const facts = { share: share(row.accuracy), speed, digest: row.model.digest.slice(0, 12) };
    if (row.problem) setSaid(this.facts, row.problem);
    else setText(this.facts, text("models.facts", facts));
    this.use.setAttribute("aria-label", text("models.useNamed", { model }));
    this.compare.setAttribute("aria-label", text("models.compareNamed", { model }));
    this.remove.setAttribute("aria-label", text("models.removeNamed", { model }));
    const isReady = !["active", "damaged", "unreadable"].includes(row.state);
    setHidden(this.use, !isReady);
    setHidden(this.compare, !isReady);
    setHidden(this.remove, row.state !== "kept");
    this.use.disabled = this.remove.disabled = busy;
  }
}

export class ModelPanel {
  #rows = new Map();
  #table = null;
  #state = null;
  #alive = false;
  #asking = false;
  #stale = false;
  #told = "";
  #compared = "";
  #onCompare;

  // `onCompare(model)`: the model to be read with beside the active one on the pad; null: none any more.
  constructor(onCompare) {
    this.#onCompare = onCompare;
    const drop = byId("models-drop");
    byId("models-file").addEventListener("change", ({ target }) => {
      this.#upload(target.files[0]);
      target.value = "";
    });
    for (const kind of ["dragenter", "dragover"]) {
      drop.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.dataset.over = "true";
      });
    }
    for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => delete drop.dataset.over);
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      this.#upload(event.dataTransfer.files[0]);
    });
    byId("models-back").addEventListener("click", () => this.#send("model.rollback"));
    byId("models-pin").addEventListener("click", () => this.#send(this.#state?.pinned ? "model.unpin" : "model.pin"));
  }

  showServices(rows) {
    const state = rows.find((row) => row.name === "updater")?.state;
    const alive = ["ready", "degraded"].includes(state);
    if (alive !== this.#alive) {
      this.#alive = alive;
      if (alive) this.#refresh();
      else setText(byId("models-state"), text("models.updaterGone"));
    }
    this.#enable();
  }

  // Which model is which, and the latest step of a change.
  show({ state, step }) {
    this.#state = state;
    const key = state.trial ? "models.onTrial" : state.pinned ? "models.readsPinned" : "models.reads";
    setText(byId("models-state"), text(key, { model: title(state.trial ?? state.active) }));
    if (step) this.#step(step);
    this.#offers(state);
    this.#enable();
    this.#refresh();
  }

  forget() {
    this.#alive = false;
    setText(byId("models-state"), "");
    this.#enable();
  }

  activate(row) {
    this.#send("model.activate", { model: row.model.digest });
  }

  compare(row) {
    const ends = row.model.digest === this.#compared;
    this.#onCompare(ends ? null : row.model);
    this.comparing(ends ? "" : row.model.digest);
  }

  // Which model the pad has read with beside the active one.
  comparing(digest) {
    this.#compared = digest;
    for (const [own, row] of this.#rows) row.compare.setAttribute("aria-pressed", String(own === digest));
  }

  remove(row) {
    if (confirm(text("models.removeSure", { model: title(row.model) }))) this.#send("model.remove", { model: row.model.digest });
  }

  // What stands on the broker and isn't what the car reads with.
  #offers({ active, offers }) {
    const shown = offers.filter((offer) => offer.digest !== active.digest);
    byId("models-offers").replaceChildren(
      ...shown.map((offer) => {
        const how = element("span", { class: "quiet" }, text("models.onItsWay", { share: percent(offer.percent / 100) }));
        if (offer.reason) setSaid(how, offer.sentence, `error.${offer.reason}`);
        const take = element("button", { type: "button", class: "small" }, text("models.take"));
        take.addEventListener("click", () => this.#send("model.install", { offer: offer.name }));
        setHidden(take, !offer.reason);
        return element(
          "li",
          { "data-reason": offer.reason },
          element("span", {}, text("models.offered", offer)),
          how,
          take,
        );
      }),
    );
  }

  #step(step) {
    const key = step.attempt > 1 ? "models.stepAttempt" : "models.step";
    setHidden(byId("models-change"), false);
    byId("models-change").dataset.step = step.step;
    setText(byId("models-step"), text(key, { model: subject(step), step: text(`models.step.${step.step}`), attempt: step.attempt }));
    setSaid(byId("models-sentence"), step.sentence, `error.${step.reason}`);
    byId("models-percent").value = step.percent;
    setHidden(byId("models-percent"), ENDED.has(step.step));
    if (step.change === this.#told && ENDED.has(step.step)) setText(byId("models-outcome"), "");
  }

  async #upload(file) {
    if (!file || byId("models-file").disabled) return;
    if (file.size > MAX_BYTES) {
      this.#say(text("models.tooLarge", { file: file.name, most: MAX_BYTES / 2 ** 20 }));
      return;
    }
    setText(byId("models-outcome"), text("models.sending", { file: file.name }));
    delete byId("models-outcome").dataset.state;
    try {
      const answer = await fetch(`/api/model?name=${encodeURIComponent(file.name)}`, {
        method: "POST",
        headers: { "Content-Type": "application/octet-stream", "Accept-Language": language },
        body: file,
      });
      if (!answer.headers.get("Content-Type")?.startsWith("application/json")) throw new Error(await answer.text());
      const reply = await answer.json();
      this.#say(reply.status === "ok" ? "" : said(reply.error.message, `error.${reply.error.code}`));
      this.#told = reply.id;
    } catch (error) {
      this.#say(error instanceof TypeError ? text("models.notSent") : error.message);
    }
  }

  async #send(verb, content = {}) {
    const { error } = await ask(verb, content);
    this.#say(error ?? "");
    this.#refresh();
  }

  #say(sentence) {
    setText(byId("models-outcome"), sentence);
    if (sentence) byId("models-outcome").dataset.state = "failed";
    else delete byId("models-outcome").dataset.state;
  }

  // One question at a time; what changed meanwhile is asked for once more.
  async #refresh() {
    if (this.#asking) {
      this.#stale = true;
      return;
    }
    this.#asking = true;
    const { data } = await ask("model.list");
    this.#asking = false;
    if (data) {
      this.#table = data;
      this.#list();
    }
    if (this.#stale) {
      this.#stale = false;
      this.#refresh();
    }
  }

  #list() {
    const rows = this.#table.models.map((row) => {
      const known = this.#rows.get(row.model.digest) ?? new ModelRow(this);
      known.show(row, this.#table, !this.#idle);
      return known;
    });
    this.#rows = new Map(rows.map((row) => [row.row.model.digest, row]));
    const list = byId("models-list");
    const wanted = rows.map((row) => row.root);
    if (wanted.some((root, index) => list.children[index] !== root) || list.childElementCount !== wanted.length) {
      list.replaceChildren(...wanted);
    }
    if (this.#compared && !rows.some(({ row }) => row.model.digest === this.#compared && row.state !== "active")) this.#onCompare(null);
    this.comparing(this.#compared);
    const now = Date.now() / 1000;
    const ended = this.#table.history.filter((step) => ENDED.has(step.step)).reverse().slice(0, 20);
    byId("models-history").replaceChildren(
      ...ended.map((step) => {
        const when = element("time", {}, timeOfDay(Date.parse(step.wall_time) / 1000, now));
        const what = text("models.step", { model: subject(step), step: text(`models.step.${step.step}`) });
        const words = element("span", { class: "quiet" });
        setSaid(words, step.sentence, `error.${step.reason}`);
        return element("li", { "data-step": step.step }, when, ` ${what}. `, words);
      }),
    );
  }

  get #idle() {
    return this.#alive && this.#state !== null && !this.#state.change;
  }

  #enable() {
    byId("models-file").disabled = !this.#idle;
    byId("models-drop").dataset.idle = String(this.#idle);
    byId("models-back").disabled = !this.#idle || !this.#state.previous;
    byId("models-pin").disabled = !this.#alive || this.#state === null;
    setText(byId("models-pin"), text(this.#state?.pinned ? "models.unpin" : "models.pin"));
    const previous = this.#state?.previous;
    setText(byId("models-back"), previous ? text("models.rollBackTo", { model: title(previous) }) : text("models.rollBack"));
    for (const row of this.#rows.values()) row.use.disabled = row.remove.disabled = !this.#idle;
  }
}
