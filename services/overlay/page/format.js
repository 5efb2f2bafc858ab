// Numbers and times as a person reads them, and small help with the document.

import { language, said, text } from "/language.js";

// Rounded down: 99.9 % is not called 100 %.
export const percent = (share) => text("unit.percent", { value: Math.floor(share * 100 + 1e-6) });

export const number = (value) => value.toLocaleString(language);

export function milliseconds(value) {
  if (value < 10) return text("unit.ms", { value: value.toFixed(1) });
  if (value < 1000) return text("unit.ms", { value: Math.round(value) });
  return seconds(value / 1000);
}

export function seconds(value) {
  if (value < 10) return text("unit.seconds", { value: value.toFixed(1) });
  if (value < 60) return text("unit.seconds", { value: Math.floor(value) });
  return duration(value);
}

export function duration(value) {
  const whole = Math.floor(value);
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return text("unit.days", { days, hours });
  if (hours) return text("unit.hours", { hours, minutes });
  if (minutes) return text("unit.minutes", { minutes, seconds: whole % 60 });
  return text("unit.seconds", { value: whole });
}

const CLOCK = new Intl.DateTimeFormat(language, { timeStyle: "medium", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(language, { day: "numeric", month: "short" });

// `now` decides whether the day needs saying.
export function timeOfDay(unixSeconds, now) {
  const when = new Date(unixSeconds * 1000);
  const clock = CLOCK.format(when);
  return when.toDateString() === new Date(now * 1000).toDateString() ? clock : `${DAY.format(when)}, ${clock}`;
}

export const sureness = (confidence) => (confidence >= 0.9 ? "high" : confidence >= 0.7 ? "fair" : "low");

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("data-")) made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

// Touches the document only where something changes, so that a screen reader isn't told again.
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

// A sentence of the car, in the reader's language where that is known, else marked as English.
export function setSaid(target, english, key = "") {
  const words = said(english, key);
  setText(target, words);
  if (words === english) target.lang = "en";
  else target.removeAttribute("lang");
}

export function setHidden(target, hidden) {
  if (target.hidden !== hidden) target.hidden = hidden;
}

export const byId = (id) => document.getElementById(id);
