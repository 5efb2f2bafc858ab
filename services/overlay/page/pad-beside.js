// Another model beside the one that reads: what it makes of the very same strokes, before anyone decides.

import { ask } from "/ask.js";
import { byId, setHidden, setText } from "/format.js";
import { text } from "/language.js";

export class Beside {
  #model = null;
  #asking = false;
  #stale = false;
  #shown;

  // `shown(digits)`: what it read, null where there is nothing to show any more.
  constructor(shown) {
    this.#shown = shown;
    byId("pad-beside-end").addEventListener("click", () => this.end());
  }

  get digest() {
    return this.#model?.digest;
  }

  begin(model) {
    this.#model = model;
    this.#say(this.#title);
    setHidden(byId("pad-beside"), false);
    this.look();
  }

  end() {
    this.#model = null;
    this.#shown(null);
    setHidden(byId("pad-beside"), true);
    byId("pad-beside").dispatchEvent(new Event("end"));
  }

  // The strokes are others now. One question at a time; what changed meanwhile is asked for once more.
  async look() {
    if (!this.#model) return;
    if (this.#asking) {
      this.#stale = true;
      return;
    }
    this.#asking = true;
    const { digest } = this.#model;
    const { data, error } = await ask("pad.recognize", { model: digest });
    this.#asking = false;
    if (this.#stale || digest !== this.#model?.digest) {
      this.#stale = false;
      this.look();
      return;
    }
    this.#shown(error ? null : data.digits);
    this.#say(error ? `${this.#title}: ${error}` : text("pad.beside", { model: this.#title, text: data.text }));
  }

  get #title() {
    return `${this.#model.name} ${this.#model.version}`;
  }

  #say(words) {
    setText(byId("pad-beside-words"), words);
  }
}
