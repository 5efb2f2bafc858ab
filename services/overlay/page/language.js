// The page's language, the browser's or the one chosen here, and its texts: one table a language, en.json and ko.json.

const NAMES = { en: "English", ko: "한국어" };
const KEPT = "smartcar-language";

const ours = (tag) => tag?.toLowerCase().split("-")[0] in NAMES;
export const language = [localStorage.getItem(KEPT), ...navigator.languages].find(ours)?.toLowerCase().split("-")[0] ?? "en";

const texts = await (await fetch(`/${language}.json`)).json();
const plural = new Intl.PluralRules(language);
const fill = (words, values) => words.replace(/\{(\w+)\}/g, (_, name) => values[name]);

// The text of that key; where it has forms for one and for many, `values.count` chooses.
export function text(key, values = {}) {
  const words = texts[key] ?? key;
  return fill(typeof words === "string" ? words : (words[plural.select(values.count)] ?? words.other), values);
}

// The car speaks English. Its sentences with gaps, as patterns, and what they are here: keys `said.…` of the table.
const SAID = Object.entries(texts)
  .filter(([key]) => key.startsWith("said."))
  .map(([key, words]) => {
    const parts = key.slice("said.".length).split(/(\{\w+\})/);
    const pattern = parts.map((part) => (part.startsWith("{") ? `(?<${part.slice(1, -1)}>.*)` : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")));
    return { pattern: new RegExp(`^${pattern.join("")}$`, "s"), words };
  });

// What the car said, in the reader's language: by `key`, where the table has it, or by the sentence itself.
export function said(english, key = "") {
  if (texts[key]) return fill(texts[key], { message: english }).trim();
  for (const { pattern, words } of SAID) {
    const match = pattern.exec(english);
    if (match) return fill(words, Object.fromEntries(Object.entries(match.groups ?? {}).map(([name, value]) => [name, said(value)])));
  }
  return english;
}

// Fills in what index.html leaves open: `data-text` is the key of an element's words, `data-label` that of its name.
export function translate() {
  document.documentElement.lang = language;
  for (const target of document.querySelectorAll("[data-text]")) target.textContent = text(target.dataset.text);
  for (const target of document.querySelectorAll("[data-label]")) target.setAttribute("aria-label", text(target.dataset.label));
  const choice = document.getElementById("language");
  for (const [tag, name] of Object.entries(NAMES)) {
    const option = new Option(name, tag, tag === language, tag === language);
    option.lang = tag;
    choice.append(option);
  }
  choice.addEventListener("change", () => {
    localStorage.setItem(KEPT, choice.value);
    location.reload();
  });
}
