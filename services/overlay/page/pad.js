// The drawing pad: one canvas for everyone, drawn on with mouse, finger, pen or keyboard.

import { ask } from "/ask.js";
import { byId, element, percent, setHidden, setSaid, setText, sureness } from "/format.js";
import { said, text } from "/language.js";
import { Beside } from "/pad-beside.js";
import { CropPanel } from "/pad-crops.js";
import { Hand } from "/pad-hand.js";
import { BOXES, Ink, Paper } from "/pad-ink.js";

const ANNOUNCE_AFTER_MS = 900;
const ASK_AGAIN_MS = 300;
const DONE_SHOWN_MS = 6000;
const RUNNING = new Set(["ready", "degraded"]);
const WORDS = { "-": text("pad.empty"), "?": text("pad.doubtful") };

const spoken = (digit) => WORDS[digit.label] ?? digit.label;
const little = (share) => (share < 0.01 ? `<\u00a0${percent(0.01)}` : percent(share));

class BoxResult {
  constructor(number, erase) {
    this.number = number;
    this.label = element("span", { class: "digit-label" });
    this.share = element("span", { class: "digit-share" });
    this.other = element("span", { class: "digit-other" });
    this.button = element("button", { type: "button", class: "small", title: text("pad.eraseBoxKey", { box: number }) }, text("pad.erase"));
    this.button.setAttribute("aria-label", text("pad.eraseBox", { box: number }));
    this.button.addEventListener("click", erase);
    this.beside = element("span", { class: "digit-beside", hidden: true });
    const read = element("div", { class: "pad-read" }, this.label, this.share, this.other, this.beside);
    this.root = element("li", { class: "pad-box" }, read, this.button);
  }

  show(digit) {
    setText(this.label, digit.label);
    const read = !(digit.label in WORDS);
    setText(this.share, read ? percent(digit.confidence) : WORDS[digit.label]);
    setText(this.other, read ? text("pad.or", { digit: digit.runner_up, share: little(digit.runner_up_confidence) }) : "");
    this.root.dataset.sureness = read ? sureness(digit.confidence) : digit.label === "?" ? "low" : "none";
  }

  showBeside(digit) {
    setHidden(this.beside, !digit);
    if (!digit) return;
    setText(this.beside, digit.label in WORDS ? digit.label : `${digit.label} ${percent(digit.confidence)}`);
    this.beside.dataset.differs = digit.label !== this.label.textContent;
  }
}

export class Pad {
  #connection;
  #ink = new Ink();
  #paper = new Paper(byId("pad-canvas"));
  #crops = new CropPanel();
  #beside = new Beside((digits) => this.#boxes.forEach((box, index) => box.showBeside(digits?.[index])));
  #hand;
  #boxes = [];
  #reading = null;
  #running = false;
  #known = false;
  #asked = 0;
  #told = "";
  #inOrder = Promise.resolve();
  #announcing = 0;
  #fading = 0;

  constructor(connection) {
    this.#connection = connection;
    const author = (sessionStorage.padAuthor ??= `page ${Math.floor(Math.random() * 65536).toString(16).padStart(4, "0")}`);
    this.#hand = new Hand(byId("pad-canvas"), this.#ink, author, () => this.#draw(), (why) => this.#say(why, "failed"));
    for (let box = 1; box <= BOXES; box++) this.#boxes.push(new BoxResult(box, () => this.#erase(box)));
    byId("pad-results").append(...this.#boxes.map(({ root }) => root));
    connection.addEventListener("pad", ({ detail }) => this.#whole(detail));
    connection.addEventListener("pad.change", ({ detail }) => this.#changed(detail));
    connection.addEventListener("pad.reading", ({ detail }) => this.#read(detail));
    this.#listen();
    this.#draw();
  }

  // The state of the car's services.
  show(services) {
    const row = services.find(({ name }) => name === "pad");
    this.#running = RUNNING.has(row?.state);
    if (this.#running) setSaid(byId("pad-state"), row.reason);
    else setText(byId("pad-state"), text("pad.notRunning"));
    this.#enable();
  }

  // The car can't be asked any more.
  forget() {
    this.#running = false;
    this.#hand.forget();
    setText(byId("pad-state"), text("connection.none"));
    this.#enable();
    this.#draw();
  }

  // Have another model read the same strokes, until it is called again with null.
  compare(model) {
    if (model) this.#beside.begin(model);
    else this.#beside.end();
  }

  // what comes

  #whole(canvas) {
    this.#known = true;
    this.#ink.whole(canvas);
    this.#showSettings();
    this.#show();
  }

  #changed(message) {
    if (!this.#ink.changed(message) && !this.#asked) {
      this.#asked = setTimeout(() => (this.#asked = 0), ASK_AGAIN_MS);
      this.#connection.missed("pad");
    }
    this.#show();
  }

  #read(reading) {
    this.#reading = reading;
    reading.digits.forEach((digit, index) => this.#boxes[index]?.show(digit));
    this.#show();
    this.#beside.look();
    clearTimeout(this.#announcing);
    this.#announcing = setTimeout(() => this.#announce(), ANNOUNCE_AFTER_MS);
  }

  #show() {
    this.#enable();
    const fresh = this.#reading?.revision === this.#ink.revision;
    byId("pad-results").dataset.fresh = fresh;
    setSaid(byId("pad-problem"), this.#reading?.problem ?? "");
    setHidden(byId("pad-problem"), !this.#reading?.problem);
    byId("pad-canvas").setAttribute("aria-label", this.#description(fresh));
    this.#draw();
  }

  #description(fresh) {
    const count = this.#ink.strokes.size;
    const strokes = count === 0 ? text("pad.nothingDrawn") : text("pad.strokes", { count });
    const description = text("pad.description", { strokes });
    if (!count || !this.#reading?.digits.length) return description;
    const boxes = this.#reading.digits.map((digit, index) => text("pad.box", { box: index + 1, digit: spoken(digit) }));
    return `${description} ${text(fresh ? "pad.boxesRead" : "pad.boxesReadBefore", { boxes: boxes.join(", ") })}`;
  }

  // A screen reader is told what stands, not what flickers.
  #announce() {
    const { digits, problem, text: read } = this.#reading;
    const aloud = text("pad.readAloud", { digits: digits.map(spoken).join(", ") });
    const words = problem ? said(problem) : read === "-".repeat(BOXES) ? text("pad.isEmpty") : aloud;
    if (words === this.#told) return;
    this.#told = words;
    setText(byId("pad-announcer"), words);
  }

  #draw() {
    this.#paper.draw(() => [...this.#ink.strokes.values(), ...this.#hand.strokes]);
  }

  #showSettings() {
    setText(byId("pad-brush"), `${this.#ink.brush}`);
    byId("pad-automatic").checked = this.#ink.automatic;
  }

  // what is asked

  #listen() {
    const click = (id, act) => byId(id).addEventListener("click", act);
    click("pad-erase", () => this.#erase());
    click("pad-undo", () => this.#undo());
    click("pad-recognize", () => this.#recognize());
    click("pad-show", () => this.#showCrops());
    click("pad-thinner", () => this.#brush(-1));
    click("pad-thicker", () => this.#brush(1));
    byId("pad-automatic").addEventListener("change", ({ target }) => this.#automatic(target.checked));
    byId("pad-write").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#write(byId("pad-digits"));
    });
    byId("pad").addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input[type=text]")) return;
    if (!this.#known || !this.#running) return;
    const acts = {
      e: () => this.#erase(),
      u: () => this.#undo(),
      r: () => this.#recognize(),
      s: () => this.#showCrops(),
      a: () => this.#automatic(!this.#ink.automatic),
      "+": () => this.#brush(1),
      "=": () => this.#brush(1),
      "-": () => this.#brush(-1),
      q: () => document.activeElement.blur(),
      Escape: () => byId("pad-crops").hidden || this.#crops.close(),
    };
    const act = /^[1-5]$/.test(event.key) ? () => this.#erase(Number(event.key)) : acts[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  #erase(box = null) {
    this.#ask("pad.erase", box ? { box, author: this.#hand.author } : { author: this.#hand.author });
  }

  #undo() {
    this.#ask("pad.undo", { author: this.#hand.author });
  }

  async #recognize() {
    const read = await this.#ask("pad.recognize");
    if (!read) return;
    this.#told = ""; // asked for: say it again
    this.#say(text("pad.read", read), "ready");
  }

  async #showCrops() {
    const views = await this.#ask("pad.show");
    if (views) this.#crops.show(views);
  }

  #brush(step) {
    const [least, most] = this.#ink.limits.brush;
    const brush = Math.min(Math.max(this.#ink.brush + step, least), most);
    this.#set({ brush }, "pad.brush", { radius: brush });
  }

  #automatic(on) {
    this.#set({ automatic: on }, "pad.automatic", { on });
  }

  // Known here at once: the canvas that tells it comes later than the next press of a key.
  async #set(settings, verb, content) {
    const { brush, automatic } = this.#ink;
    Object.assign(this.#ink, settings);
    this.#showSettings();
    this.#inOrder = this.#inOrder.then(() => this.#ask(verb, content)); // or the last one might come first
    if (await this.#inOrder) return;
    Object.assign(this.#ink, { brush, automatic });
    this.#showSettings();
  }

  async #write(input) {
    const digits = input.value.replaceAll(" ", "-");
    if (!/^[0-9-]{1,5}$/.test(digits)) {
      this.#say(text("pad.upToFive"), "failed");
      return;
    }
    const done = await this.#ask("pad.write", { digits, author: this.#hand.author });
    if (done) input.value = "";
  }

  async #ask(verb, content) {
    const { data, error } = await ask(verb, content);
    if (error === undefined) this.#say("", "");
    else this.#say(error, "failed");
    return data;
  }

  #enable() {
    for (const control of byId("pad").querySelectorAll("button, input")) {
      if (control.id !== "pad-crops-close") control.disabled = !this.#running || !this.#known;
    }
  }

  #say(sentence, state) {
    clearTimeout(this.#fading);
    if (state === "ready") this.#fading = setTimeout(() => this.#say("", ""), DONE_SHOWN_MS);
    const outcome = byId("pad-outcome");
    outcome.dataset.state = state;
    setText(outcome, sentence);
  }
}
