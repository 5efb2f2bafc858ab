// Boxes and digits over the picture, as SVG: crisp at any size, and no work for the car.

import { percent, sureness } from "/format.js";

const SVG = "http://www.w3.org/2000/svg";
const TAG_PX = 15; // on the screen
const TAG_PADDING = 5;
const CHIP = { size: 11, width: 36, height: 16 };

// Coordinates are frame pixels; lengths that shall look the same at any size are divided by `scale`.
export function drawMarks(svg, picture, stageWidth) {
  const scale = stageWidth / picture.width || 1;
  svg.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
  const codes = picture.reading?.codes ?? [];
  svg.replaceChildren(...codes.map((code) => codeMark(code, picture, scale)));
}

function codeMark(code, picture, scale) {
  const group = node("g", { class: "mark", "data-sureness": grade(code.text, code.confidence) });
  const margin = 4 / scale;
  const { x, y, width, height } = code.box;
  group.append(
    node("rect", {
      class: "mark-code",
      x: x - margin,
      y: y - margin,
      width: width + 2 * margin,
      height: height + 2 * margin,
      rx: 6 / scale,
    }),
  );
  for (const digit of code.digits) group.append(digitMark(digit, scale));
  group.append(tag(code, picture, scale, margin));
  return group;
}

function digitMark({ box, label, confidence }, scale) {
  const group = node("g", { "data-sureness": grade(label, confidence) });
  group.append(node("rect", { class: "mark-digit", ...box, rx: 2 / scale }));
  const barHeight = 3 / scale;
  const bar = { x: box.x, y: box.y + box.height + barHeight, height: barHeight, rx: barHeight / 2 };
  group.append(node("rect", { class: "mark-bar", ...bar, width: box.width }));
  group.append(node("rect", { class: "mark-bar-full", ...bar, width: box.width * confidence }));
  if (box.width * scale >= CHIP.width) group.append(...chip(percent(confidence), box, bar, scale));
  return group;
}

// How sure a digit is, in figures, where its box is wide enough for them.
function chip(words, box, bar, scale) {
  const [width, height] = [CHIP.width / scale, CHIP.height / scale];
  const middle = box.x + box.width / 2;
  const y = bar.y + bar.height + 3 / scale;
  return [
    node("rect", { class: "mark-chip", x: middle - width / 2, y, width, height, rx: height / 2 }),
    text(words, "mark-share", middle, y + height * 0.77, CHIP.size / scale),
  ];
}

// The code above its box, or below where the picture ends.
function tag(code, picture, scale, margin) {
  const words = `${code.text}  ${percent(code.confidence)}`;
  const size = TAG_PX / scale;
  const padding = TAG_PADDING / scale;
  const width = words.length * size * 0.6 + 2 * padding;
  const height = size + 1.4 * padding;
  const above = code.box.y - margin - height - 3 / scale;
  const below = code.box.y + code.box.height + margin + 24 / scale;
  const y = above >= 0 ? above : Math.min(below, picture.height - height);
  const x = Math.max(0, Math.min(code.box.x - margin, picture.width - width));
  const group = node("g", { class: "mark-tag" });
  group.append(node("rect", { x, y, width, height, rx: 4 / scale }));
  group.append(text(words, "mark-words", x + width / 2, y + height / 2 + size * 0.35, size));
  return group;
}

const grade = (label, confidence) => (label.includes("?") ? "low" : sureness(confidence));

function text(words, name, x, y, size) {
  const made = node("text", { class: name, x, y, "font-size": size, "text-anchor": "middle" });
  made.setAttributeNS("http://www.w3.org/XML/1998/namespace", "xml:space", "preserve");
  made.textContent = words;
  return made;
}

function node(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
