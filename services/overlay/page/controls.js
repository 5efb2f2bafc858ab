// What can be asked of the car from here.

import { ask } from "/ask.js";
import { byId, element, setHidden, setText } from "/format.js";
import { text } from "/language.js";

const RUNNING = new Set(["ready", "degraded", "starting", "off", "failed"]);
const DONE_SHOWN_MS = 6000;

export class Controls {
  #paused = false;
  #busy = false;
  #reachable = false;
  #sources = "";
  #fading = 0;

  constructor() {
    byId("pause").addEventListener("click", () => {
      const verb = this.#paused ? "capture.resume" : "capture.pause";
      this.#send(verb, {}, text(this.#paused ? "controls.resumed" : "controls.paused"));
    });
    byId("controls").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = byId("source-name").value;
      this.#send("capture.source", { name }, text("controls.switched", { name }));
    });
  }

  show(board) {
    const capture = board.services.find(({ name }) => name === "capture");
    this.#paused = capture?.state === "off";
    this.#reachable = RUNNING.has(capture?.state);
    setText(byId("pause"), text(this.#paused ? "controls.resume" : "controls.pause"));
    setHidden(byId("source-choice"), board.sources.length < 2);
    if (this.#sources !== board.sources.join()) {
      this.#sources = board.sources.join();
      byId("source-name").replaceChildren(...board.sources.map((name) => element("option", { value: name }, name)));
    }
    this.#enable();
  }

  // The car can't be asked any more.
  forget() {
    this.#reachable = false;
    this.#say("", "");
    this.#enable();
  }

  #enable() {
    for (const id of ["pause", "switch"]) byId(id).disabled = this.#busy || !this.#reachable;
  }

  async #send(verb, content, done) {
    this.#busy = true;
    this.#enable();
    this.#say("…", "");
    const { error } = await ask(verb, content);
    if (error === undefined) this.#say(done, "ready");
    else this.#say(error, "failed");
    this.#busy = false;
    this.#enable();
  }

  #say(sentence, state) {
    clearTimeout(this.#fading);
    if (state === "ready") this.#fading = setTimeout(() => this.#say("", ""), DONE_SHOWN_MS);
    const outcome = byId("outcome");
    outcome.dataset.state = state;
    setText(outcome, sentence);
  }
}
