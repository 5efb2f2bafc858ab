// A hand at the pad: mouse, fingers and pens become strokes, sent while they are drawn.

import { ask } from "/ask.js";
import { Contact, penSeen } from "/pad-contact.js";
import { HEIGHT, WIDTH } from "/pad-ink.js";

const POINTS_AT_ONCE = 200;
const NEAR = 0.75; // pixels: points closer than this to the last say nothing
const GONE_QUIETLY = new Set(["no-such-stroke", "finished"]); // erased or timed out: the next begins anew

let made = 0;

// A stroke that is drawn here, and how much of it the car has been told.
class DrawnStroke {
  begun = false;
  lifted = false;
  withdrawn = false; // it is to leave nothing
  done = false;

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

  // Also after all of it was sent.
  withdraw() {
    this.withdrawn = this.lifted = true;
    this.done = !this.begun;
    this.sent = this.points.length;
  }

  // What to send next; `done` once that is the end.
  next() {
    if (this.withdrawn) {
      this.done = true;
      return { phase: "cancel", stroke: this.id };
    }
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
  #contacts = new Map(); // by pointer id
  #strokes = []; // those with something to send, and those that the car has not told yet
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
    canvas.addEventListener("pointerup", (event) => this.#lift(event));
    canvas.addEventListener("lostpointercapture", (event) => this.#lift(event));
    canvas.addEventListener("pointercancel", (event) => this.#cancel(event));
  }

  // What is drawn here and not yet known from the car.
  get strokes() {
    this.#strokes = this.#strokes.filter((stroke) => stroke.waits || !stroke.lifted || !this.#isTold(stroke));
    return this.#strokes.filter((stroke) => !stroke.withdrawn);
  }

  // The car is gone: what it has not taken is not drawn.
  forget() {
    this.#contacts.clear();
    this.#strokes = [];
  }

  #isTold(stroke) {
    if (stroke.withdrawn) return stroke.done;
    return stroke.confirmed && (this.#ink.strokes.has(stroke.id) || this.#ink.revision >= stroke.confirmed);
  }

  #press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.#canvas.focus({ preventScroll: true });
    this.#capture(event.pointerId);
    const contact = new Contact(event);
    if (event.pointerType === "pen") {
      penSeen();
      for (const other of this.#contacts.values()) if (other.isTouch) this.#ignore(other);
    }
    const touches = [contact, ...this.#contacts.values()].filter(({ isTouch }) => isTouch);
    if (touches.length > 1) for (const touch of touches) touch.alone = false;
    this.#contacts.set(event.pointerId, contact);
    this.#draw(contact, contact.take(event, [this.#point(event)]));
  }

  #capture(pointerId) {
    try {
      this.#canvas.setPointerCapture(pointerId);
    } catch {
      // It was lifted already.
    }
  }

  #move(event) {
    if (event.pointerType === "pen") penSeen();
    const contact = this.#contacts.get(event.pointerId);
    if (!contact) return;
    const events = event.getCoalescedEvents?.() ?? [];
    const points = (events.length ? events : [event]).map((each) => this.#point(each));
    this.#draw(contact, contact.take(event, points));
  }

  #lift(event) {
    const contact = this.#contacts.get(event.pointerId);
    if (!contact) return;
    this.#contacts.delete(event.pointerId);
    this.#draw(contact, contact.lift());
    this.#end(contact);
  }

  // The system has found that a touch was none: a palm's, or a gesture's.
  #cancel(event) {
    const contact = this.#contacts.get(event.pointerId);
    if (contact?.isTouch) this.#ignore(contact);
    this.#lift(event);
  }

  #ignore(contact) {
    contact.ignored = true;
    for (const stroke of contact.strokes) {
      stroke.withdraw();
      if (!this.#strokes.includes(stroke)) this.#strokes.push(stroke);
    }
    contact.strokes = [];
    this.#changed();
    this.#send();
  }

  // In the pad's pixels; null outside.
  #point(event) {
    const place = this.#canvas.getBoundingClientRect();
    const x = Math.round((((event.clientX - place.left) * WIDTH) / place.width - 0.5) * 4) / 4;
    const y = Math.round((((event.clientY - place.top) * HEIGHT) / place.height - 0.5) * 4) / 4;
    return x >= 0 && y >= 0 && x < WIDTH && y < HEIGHT ? [x, y] : null;
  }

  // A stroke ends where it leaves the canvas, and another begins where it returns.
  #draw(contact, points) {
    if (contact.ignored || !points.length) return;
    for (const point of points) {
      const stroke = contact.strokes.at(-1);
      if (point === null) this.#end(contact);
      else if (!stroke || stroke.lifted) this.#begin(contact, point);
      else if (stroke.points.length >= this.#ink.limits.points) {
        this.#end(contact);
        this.#begin(contact, stroke.points.at(-1)).add(point);
      } else stroke.add(point);
    }
    this.#changed();
    this.#send();
  }

  #begin(contact, point) {
    const stroke = new DrawnStroke(this.author, this.#ink.brush, point);
    contact.strokes.push(stroke);
    this.#strokes.push(stroke);
    return stroke;
  }

  #end(contact) {
    const stroke = contact.strokes.at(-1);
    if (!stroke || stroke.lifted) return;
    stroke.lifted = true;
    this.#send();
  }

  // One request at a time: what is drawn meanwhile goes with the next.
  async #send() {
    if (this.#sending) return;
    this.#sending = true;
    for (let stroke; (stroke = this.#strokes.find((each) => each.waits)); ) {
      const { data, error, code } = await ask("pad.stroke", { ...stroke.next(), author: this.author });
      if (error === undefined) {
        stroke.confirmed = data.revision;
        continue;
      }
      this.#strokes = this.#strokes.filter((each) => each !== stroke);
      for (const [pointer, contact] of this.#contacts) {
        if (contact.strokes.at(-1) === stroke) this.#contacts.delete(pointer);
      }
      if (!GONE_QUIETLY.has(code)) this.#failed(error);
      this.#changed();
    }
    this.#sending = false;
  }
}
