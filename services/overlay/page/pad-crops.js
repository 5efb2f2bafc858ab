// What the model sees: the five crops, enlarged, and the ten probabilities of each as bars.

import { byId, element, percent, setHidden, setText } from "/format.js";
import { text } from "/language.js";

const DIGITS = [..."0123456789"];

class Crop {
  constructor(number) {
    this.title = element("h4");
    this.picture = element("canvas", { width: 28, height: 28 });
    this.picture.setAttribute("role", "img");
    this.bars = DIGITS.map((digit) => {
      const bar = element("span", { class: "bar" }, element("span"));
      const share = element("span", { class: "share" });
      return { row: element("li", {}, element("span", {}, digit), bar, share), bar, share };
    });
    const list = element("ol", {}, ...this.bars.map(({ row }) => row));
    list.setAttribute("aria-label", text("pad.cropShares", { box: number }));
    this.list = list;
    this.number = number;
    this.root = element("li", { class: "crop" }, this.title, this.picture, list);
  }

  show({ crop, probabilities, digit }) {
    const empty = !probabilities.length;
    const doubt = digit.label === "?" && text("pad.doubtful");
    const words = empty ? text("pad.empty") : doubt || `${digit.label}, ${percent(digit.confidence)}`;
    setText(this.title, text("pad.crop", { box: this.number, words }));
    this.picture.setAttribute("aria-label", text("pad.cropPicture", { box: this.number, words }));
    this.#paint(crop);
    setHidden(this.list, empty);
    this.bars.forEach(({ row, bar, share }, value) => {
      const likely = probabilities[value] ?? 0;
      bar.firstChild.style.width = `${likely * 100}%`;
      setText(share, percent(likely));
      row.dataset.chosen = String(value) === digit.label;
    });
  }

  #paint({ width, height, pixels }) {
    const grey = atob(pixels.replaceAll("-", "+").replaceAll("_", "/"));
    const image = new ImageData(width, height);
    for (let place = 0; place < grey.length; place++) {
      image.data.fill(grey.charCodeAt(place), 4 * place, 4 * place + 3);
      image.data[4 * place + 3] = 255;
    }
    this.picture.getContext("2d").putImageData(image, 0, 0);
  }
}

export class CropPanel {
  #crops = [];

  constructor() {
    byId("pad-crops-close").addEventListener("click", () => this.close());
  }

  show({ boxes, model }) {
    while (this.#crops.length < boxes.length) this.#crops.push(new Crop(this.#crops.length + 1));
    byId("pad-crops-list").replaceChildren(...this.#crops.map(({ root }) => root));
    boxes.forEach((box, index) => this.#crops[index].show(box));
    setText(byId("pad-crops-model"), model ? `${model.name} ${model.version}` : "");
    setHidden(byId("pad-crops"), false);
    byId("pad-crops").focus();
  }

  close() {
    setHidden(byId("pad-crops"), true);
    byId("pad-canvas").focus();
  }
}
