// Numbers and times as a person reads them, and small help with the document.

// Rounded down: 99.9 % is not called 100 %.
export const percent = (share) => `${Math.floor(share * 100 + 1e-6)} %`;

export function milliseconds(value) {
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  return seconds(value / 1000);
}

export function seconds(value) {
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 60) return `${Math.floor(value)} s`;
  return duration(value);
}

export function duration(value) {
  const whole = Math.floor(value);
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return `${minutes} min ${whole % 60} s`;
  return `${whole} s`;
}

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

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

export function setHidden(target, hidden) {
  if (target.hidden !== hidden) target.hidden = hidden;
}

export const byId = (id) => document.getElementById(id);
