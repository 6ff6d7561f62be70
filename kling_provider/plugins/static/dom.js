// Elements are made of text only, never of markup.

export function el(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

// An address that media may come from, or undefined. Not Airflow's own: a picture must not call its API (but a foreign
// host can redirect there; the answer reaches nobody).
export function mediaAddress(text) {
  if (typeof text !== "string") return undefined;
  let address;
  try {
    address = new URL(text);
  } catch {
    return undefined;
  }
  const loopback = address.protocol === "http:" && ["127.0.0.1", "localhost"].includes(address.hostname);
  return (address.protocol === "https:" || loopback) && address.origin !== location.origin ? address.href : undefined;
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.round(whole / 86400)} days`;
}

export function size(bytes) {
  if (!(bytes >= 0)) return undefined;
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`;
}

export function seconds(time) {
  const value = Date.parse(time ?? "");
  return Number.isNaN(value) ? undefined : value / 1000;
}

const today = (date) => date.toDateString() === new Date().toDateString();

export function when(epoch) {
  const date = new Date(epoch * 1000);
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const day = today(date) ? {} : { day: "numeric", month: "short", year: "numeric" };
  const text = new Intl.DateTimeFormat("en-GB", { ...day, ...clock }).format(date);
  return el("time", { datetime: date.toISOString(), title: date.toISOString() }, text);
}

export const day = (epoch) =>
  new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" }).format(epoch * 1000);

// A text that can be taken along; this page must not open windows.
export function copyable(text, label) {
  const button = el("button", { type: "button", class: "copy", title: `Copy ${label}`, "aria-label": `Copy ${label}` }, "Copy");
  const field = el("code", { tabindex: "0" }, text);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(field); // no right to the clipboard, as on plain http
      button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return el("span", { class: "copyable" }, field, button);
}

export const chip = (text, kind = "") => el("span", { class: `chip ${kind}` }, text);

// After a while, and only once somebody looks at the page again.
export function later(action, ms) {
  setTimeout(() => (document.hidden ? document.addEventListener("visibilitychange", action, { once: true }) : action()), ms);
}
