// The car's models: which one reads, the others, and a new one on its way.

import { ask } from "/ask.js";
import { byId, element, milliseconds, setHidden, setText, timeOfDay } from "/format.js";

const STEPS = {
  fetching: "fetching",
  received: "received",
  checked: "checked",
  tested: "passed its golden test",
  waiting: "waits for the recognizer",
  trial: "on trial: the car reads with it",
  active: "active",
  kept: "kept in the store",
  refused: "not taken",
  fallen_back: "given up",
  interrupted: "interrupted",
};
const ORIGINS = { factory: "shipped with smartcar", inbox: "data folder", import: "uploaded", install: "signed bundle", offer: "offered", store: "the store" };
const ENDED = new Set(["active", "kept", "refused", "fallen_back", "interrupted"]);
const MAX_BYTES = 128 * 2 ** 20;

const share = (value) => (value === null ? "–" : `${(value * 100).toFixed(1)} %`);
const title = (model) => `${model.name} ${model.version}`;

class ModelRow {
  constructor(panel) {
    this.name = element("h3");
    this.pill = element("span", { class: "pill" });
    this.origin = element("p", { class: "quiet" });
    this.facts = element("p", { class: "models-facts" });
    this.use = element("button", { type: "button", class: "small" }, "Read with it");
    this.use.addEventListener("click", () => panel.activate(this.row));
    this.compare = element("button", { type: "button", class: "small" }, "Compare on the pad");
    this.compare.addEventListener("click", () => panel.compare(this.row));
    this.remove = element("button", { type: "button", class: "small" }, "Remove");
    this.remove.addEventListener("click", () => panel.remove(this.row));
    const head = element("div", { class: "models-head" }, this.name, this.pill);
    const tools = element("div", { class: "models-tools" }, this.use, this.compare, this.remove);
    this.root = element("li", { class: "model" }, head, this.origin, this.facts, tools);
  }

  show(row, { trial, pinned }, busy) {
    this.row = row;
    const state = row.model.digest === trial ? "on trial" : row.state === "active" && pinned ? "active, pinned" : row.state;
    setText(this.name, title(row.model));
    setText(this.pill, state);
    this.root.dataset.state = this.pill.dataset.state = row.state === "active" ? "ready" : state === "on trial" ? "starting" : "off";
    setText(this.origin, [ORIGINS[row.origin] ?? row.origin, row.file, row.signed ? "signed" : ""].filter(Boolean).join(" · "));
    const speed = row.latency_ms === null ? "–" : row.latency_ms < 0.1 ? "under 0.1 ms" : milliseconds(row.latency_ms);
    setText(this.facts, row.problem || `${share(row.accuracy)} of the golden digits · five digits in ${speed} · ${row.model.digest.slice(0, 12)}`);
    this.use.setAttribute("aria-label", `Read with ${title(row.model)}`);
    this.compare.setAttribute("aria-label", `Have ${title(row.model)} read the pad beside the active model`);
    this.remove.setAttribute("aria-label", `Remove ${title(row.model)}`);
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
      else setText(byId("models-state"), "The updater is not running.");
    }
    this.#enable();
  }

  // Which model is which, and the latest step of a change.
  show({ state, step }) {
    this.#state = state;
    const words = `${title(state.active)} reads${state.pinned ? ", pinned" : ""}`;
    setText(byId("models-state"), state.trial ? `${title(state.trial)} on trial` : words);
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
    if (confirm(`Remove ${title(row.model)} from the car?`)) this.#send("model.remove", { model: row.model.digest });
  }

  // What stands on the broker and isn't what the car reads with.
  #offers({ active, offers }) {
    const shown = offers.filter((offer) => offer.digest !== active.digest);
    byId("models-offers").replaceChildren(
      ...shown.map((offer) => {
        const how = offer.reason ? offer.sentence : `on its way, ${offer.percent} %`;
        const take = element("button", { type: "button", class: "small" }, "Take it now");
        take.addEventListener("click", () => this.#send("model.install", { offer: offer.name }));
        setHidden(take, !offer.reason);
        return element(
          "li",
          { "data-reason": offer.reason },
          element("span", {}, `Offered: ${offer.name} ${offer.version}, release ${offer.release}. `),
          element("span", { class: "quiet" }, how),
          take,
        );
      }),
    );
  }

  #step(step) {
    const what = step.model ? title(step.model) : step.file;
    setHidden(byId("models-change"), false);
    byId("models-change").dataset.step = step.step;
    setText(byId("models-step"), `${what}: ${STEPS[step.step] ?? step.step}${step.attempt > 1 ? `, attempt ${step.attempt}` : ""}`);
    setText(byId("models-sentence"), step.sentence);
    byId("models-percent").value = step.percent;
    setHidden(byId("models-percent"), ENDED.has(step.step));
    if (step.change === this.#told && ENDED.has(step.step)) setText(byId("models-outcome"), "");
  }

  async #upload(file) {
    if (!file || byId("models-file").disabled) return;
    if (file.size > MAX_BYTES) {
      this.#say(`${file.name} is larger than ${MAX_BYTES / 2 ** 20} MiB. A digit model is smaller.`);
      return;
    }
    setText(byId("models-outcome"), `Sending ${file.name}…`);
    delete byId("models-outcome").dataset.state;
    try {
      const answer = await fetch(`/api/model?name=${encodeURIComponent(file.name)}`, {
        method: "POST",
        headers: { "Content-Type": "application/octet-stream" },
        body: file,
      });
      if (!answer.headers.get("Content-Type")?.startsWith("application/json")) throw new Error(await answer.text());
      const reply = await answer.json();
      this.#say(reply.status === "ok" ? "" : reply.error.message);
      this.#told = reply.id;
    } catch (error) {
      this.#say(error instanceof TypeError ? "The car does not answer; the model was not sent." : error.message);
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
        const what = step.model ? title(step.model) : step.file;
        const words = step.sentence || `${what}: ${STEPS[step.step]}`;
        return element("li", { "data-step": step.step }, when, ` ${what} ${STEPS[step.step]}. `, element("span", { class: "quiet" }, words));
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
    setText(byId("models-pin"), this.#state?.pinned ? "Unpin" : "Pin");
    setText(byId("models-back"), this.#state?.previous ? `Roll back to ${title(this.#state.previous)}` : "Roll back");
    for (const row of this.#rows.values()) row.use.disabled = row.remove.disabled = !this.#idle;
  }
}
