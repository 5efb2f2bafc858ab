// What touches the pad: a mouse or a pen draws at once; a touch draws when it is a finger's and not a palm's.

const PALM = 70; // CSS pixels: a finger's contact is smaller
const STILL = 8; // CSS pixels: a touch that stays within this rests
const TAP_MS = 600; // a touch that rests longer is no tap
const PEN_NEAR_MS = 1500; // a hand that holds a pen rests beside it

let penSeenAt = -Infinity;

// Call for every event of a pen, hovering too: while one is near, touches are the hand that holds it.
export function penSeen() {
  penSeenAt = performance.now();
}

export class Contact {
  strokes = []; // what it has drawn, in pieces that the pad takes
  ignored = false;
  alone = true; // false once another touch was there at the same time
  #held = null; // a touch's points until it is known whether it rests or draws
  #from;
  #began = performance.now();

  constructor(event) {
    this.isTouch = event.pointerType === "touch";
    this.#from = [event.clientX, event.clientY];
    if (!this.isTouch) return;
    this.#held = [];
    this.ignored = this.#began - penSeenAt < PEN_NEAR_MS;
  }

  // The points to draw now, of those that have come.
  take(event, points) {
    if (this.#held === null) return points;
    if (Math.max(event.width, event.height) > PALM) this.ignored = true;
    if (this.ignored) return [];
    this.#held.push(...points);
    const [x, y] = this.#from;
    return Math.hypot(event.clientX - x, event.clientY - y) > STILL ? this.#release() : [];
  }

  // The points to draw when it is lifted: those of a tap.
  lift() {
    const isTap = this.#held && !this.ignored && this.alone && performance.now() - this.#began < TAP_MS;
    return isTap ? this.#release() : [];
  }

  #release() {
    const held = this.#held;
    this.#held = null;
    return held;
  }
}
