// The pad's canvas: its strokes as the car tells them, and how they look.

export const WIDTH = 520;
export const HEIGHT = 200;
export const BOXES = 5;
export const boxLeft = (index) => 10 + 100 * index;
export const BOX_TOP = 50;
export const BOX_SIDE = 100;

const SHARPNESS = 2; // canvas pixels for each of the pad's

const INK = "#000";
const PAPER = "#fff";
const FRAME = "#e00000";

// Keeps in step with the pad: begins with a whole canvas and goes on with the changes after it.
export class Ink {
  strokes = new Map();
  brush = 4;
  automatic = true;
  limits = { brush: [1, 1], points: 100 }; // until the car says
  revision = -1;
  #boot = null;

  whole({ boot, revision, brush, automatic, limits, strokes }) {
    this.limits = limits;
    this.brush = brush;
    this.automatic = automatic;
    if (boot === this.#boot && revision < this.revision) return; // older than what the changes led to
    this.#boot = boot;
    this.revision = revision;
    this.strokes = new Map(strokes.map((stroke) => [stroke.id, stroke]));
  }

  // Returns whether nothing is missing.
  changed({ boot, changes }) {
    if (boot !== this.#boot) return false;
    for (const change of changes) {
      if (change.revision <= this.revision) continue;
      if (change.revision !== this.revision + 1 && !change.clear) return false;
      this.revision = change.revision;
      if (change.clear) this.strokes.clear();
      for (const id of change.removed) this.strokes.delete(id);
      for (const stroke of change.added) this.strokes.set(stroke.id, stroke);
      const grown = this.strokes.get(change.stroke);
      if (grown) {
        grown.points.push(...change.points);
        grown.finished = change.finished;
        grown.path = null;
      }
    }
    return true;
  }
}

export class Paper {
  #context;
  #due = false;

  constructor(canvas) {
    canvas.width = WIDTH * SHARPNESS;
    canvas.height = HEIGHT * SHARPNESS;
    this.#context = canvas.getContext("2d");
  }

  // Draws soon, once, however often it is called. `strokes()` gives what is to be drawn then.
  draw(strokes) {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#drawNow(strokes());
    });
  }

  #drawNow(strokes) {
    const context = this.#context;
    context.setTransform(SHARPNESS, 0, 0, SHARPNESS, 0, 0);
    context.fillStyle = PAPER;
    context.fillRect(0, 0, WIDTH, HEIGHT);
    context.strokeStyle = FRAME;
    context.lineWidth = 1;
    for (let index = 0; index < BOXES; index++) {
      context.strokeRect(boxLeft(index) + 0.5, BOX_TOP + 0.5, BOX_SIDE, BOX_SIDE);
    }
    context.strokeStyle = INK;
    context.lineCap = context.lineJoin = "round";
    for (const stroke of strokes) {
      context.lineWidth = 2 * stroke.brush + 1;
      context.stroke((stroke.path ??= pathOf(stroke.points)));
    }
  }
}

// Pixel centres; a dot is a line to itself, which the round caps show.
function pathOf(points) {
  const path = new Path2D();
  points.forEach(([x, y], place) => path[place ? "lineTo" : "moveTo"](x + 0.5, y + 0.5));
  if (points.length === 1) path.lineTo(points[0][0] + 0.5, points[0][1] + 0.5);
  return path;
}
