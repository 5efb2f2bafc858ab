// A hand at the pad: mouse, fingers and pens become strokes, sent while they are drawn.

import { ask } from "/ask.js";
import { HEIGHT, WIDTH } from "/pad-ink.js";

const POINTS_AT_ONCE = 200;
const POINTS_IN_A_STROKE = 900; // the pad takes 1000; a longer one goes on as another
const NEAR = 0.75; // pixels: points closer than this to the last say nothing
const GONE_QUIETLY = new Set(["no-such-stroke", "finished"]); // erased or timed out: the next begins anew

let made = 0;

class Pen {
  begun = false;
  lifted = false;

  constructor(author, brush, point) {
    this.id = `${author.replace(" ", "-")}-${Date.now().toString(36)}-${++made}`;
    this.brush = brush;
    this.points = [point]; // all of them, for drawing before the car has them
    this.sent = 0;
    this.path = null;
  }

  get waits() {
    return this.sent < this.points.length || (this.lifted && !this.done);
  }

  add(point) {
    const [x, y] = this.points.at(-1);
    if (Math.hypot(point[0] - x, point[1] - y) < NEAR) return;
    this.points.push(point);
    this.path = null;
  }

  // What to send next; `done` once that is the end.
  next() {
    const points = this.points.slice(this.sent, this.sent + POINTS_AT_ONCE);
    this.sent += points.length;
    this.done = this.lifted && this.sent === this.points.length;
    const phase = this.begun ? (this.done ? "end" : "extend") : this.done ? "whole" : "begin";
    this.begun = true;
    return { phase, stroke: this.id, brush: this.brush, points };
  }
}

export class Hand {
  #canvas;
  #ink;
  #changed;
  #failed;
  #down = new Map(); // pointer id to its pen; null while it is outside the canvas
  #pens = []; // those with something to send, and those whose stroke the car has not told yet
  #sending = false;

  // `changed()` is called when there is something new to draw, `failed(sentence)` where the car refuses.
  constructor(canvas, ink, author, changed, failed) {
    this.#canvas = canvas;
    this.#ink = ink;
    this.author = author;
    this.#changed = changed;
    this.#failed = failed;
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, (event) => this.#release(event));
    }
  }

  // What is drawn here and not yet known from the car.
  get strokes() {
    this.#pens = this.#pens.filter((pen) => pen.waits || !pen.lifted || !this.#isTold(pen));
    return this.#pens;
  }

  // The car is gone: what it has not taken is not drawn.
  forget() {
    this.#down.clear();
    this.#pens = [];
  }

  #isTold(pen) {
    return pen.confirmed && (this.#ink.strokes.has(pen.id) || this.#ink.revision >= pen.confirmed);
  }

  #press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.#canvas.focus({ preventScroll: true });
    this.#canvas.setPointerCapture(event.pointerId);
    this.#to(event.pointerId, this.#point(event));
  }

  #move(event) {
    if (!this.#down.has(event.pointerId)) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.#to(event.pointerId, this.#point(each));
  }

  #release(event) {
    this.#lift(this.#down.get(event.pointerId));
    this.#down.delete(event.pointerId);
  }

  // In the pad's pixels; null outside.
  #point(event) {
    const place = this.#canvas.getBoundingClientRect();
    const x = Math.round((((event.clientX - place.left) * WIDTH) / place.width - 0.5) * 4) / 4;
    const y = Math.round((((event.clientY - place.top) * HEIGHT) / place.height - 0.5) * 4) / 4;
    return x >= 0 && y >= 0 && x < WIDTH && y < HEIGHT ? [x, y] : null;
  }

  #to(pointer, point) {
    let pen = this.#down.get(pointer);
    if (point === null) {
      this.#lift(pen);
      this.#down.set(pointer, null);
      return;
    }
    if (pen && pen.points.length >= POINTS_IN_A_STROKE) {
      const last = pen.points.at(-1);
      this.#lift(pen);
      pen = this.#begin(pointer, last);
    }
    if (pen) pen.add(point);
    else this.#begin(pointer, point);
    this.#changed();
    this.#send();
  }

  #begin(pointer, point) {
    const pen = new Pen(this.author, this.#ink.brush, point);
    this.#down.set(pointer, pen);
    this.#pens.push(pen);
    return pen;
  }

  #lift(pen) {
    if (!pen || pen.lifted) return;
    pen.lifted = true;
    this.#send();
  }

  // One request at a time: what is drawn meanwhile goes with the next.
  async #send() {
    if (this.#sending) return;
    this.#sending = true;
    for (let pen; (pen = this.#pens.find((each) => each.waits)); ) {
      const { data, error, code } = await ask("pad.stroke", { ...pen.next(), author: this.author });
      if (error === undefined) {
        pen.confirmed = data.revision;
        continue;
      }
      this.#pens = this.#pens.filter((each) => each !== pen);
      for (const [pointer, each] of this.#down) if (each === pen) this.#down.delete(pointer);
      if (!GONE_QUIETLY.has(code)) this.#failed(error);
      this.#changed();
    }
    this.#sending = false;
  }
}
