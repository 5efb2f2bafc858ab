// The codes of the picture shown, digit by digit, with how sure each one is.

import { element, percent, setHidden, setText, sureness } from "/format.js";
import { text } from "/language.js";

const MOST = 12;

class DigitTile {
  constructor() {
    this.label = element("span", { class: "digit-label" });
    this.bar = element("span", { class: "bar" }, element("span"));
    this.share = element("span", { class: "digit-share" });
    this.other = element("span", { class: "digit-other" });
    this.root = element("span", { class: "digit" }, this.label, this.bar, this.share, this.other);
  }

  show(digit) {
    const grade = digit.label === "?" ? "low" : sureness(digit.confidence);
    setText(this.label, digit.label);
    setText(this.share, percent(digit.confidence));
    const doubtful = grade !== "high";
    setText(this.other, doubtful ? text("live.or", { digit: digit.runner_up }) : "");
    setHidden(this.other, !doubtful);
    this.root.dataset.sureness = grade;
    const [share, otherShare] = [percent(digit.confidence), percent(digit.runner_up_confidence)];
    this.root.title = text("live.digit", { label: digit.label, share, other: digit.runner_up, otherShare });
    this.bar.firstChild.style.width = `${digit.confidence * 100}%`;
  }
}

// Shows `codes` in `list`, reusing what is there: this runs with every picture.
export function showCodes(list, codes) {
  const shown = codes.slice(0, MOST);
  while (list.childElementCount > shown.length) list.lastElementChild.remove();
  shown.forEach((code, index) => {
    const item = list.children[index] ?? list.appendChild(newItem());
    const { tiles, digits, total } = item;
    while (tiles.length > code.digits.length) tiles.pop().root.remove();
    code.digits.forEach((digit, place) => {
      if (!tiles[place]) {
        tiles[place] = new DigitTile();
        digits.append(tiles[place].root);
      }
      tiles[place].show(digit);
    });
    setText(total, text("live.sure", { share: percent(code.confidence) }));
    item.dataset.text = code.text;
  });
}

function newItem() {
  const digits = element("span", { class: "digits" });
  const total = element("span", { class: "code-total quiet" });
  const item = element("li", { class: "code" }, digits, total);
  return Object.assign(item, { tiles: [], digits, total });
}
