// Players and pictures: from the stored copy where there is one, else from Kling as long as it keeps it.

import { copyable, day, duration, el, size } from "./dom.js";

// The element for a file, or undefined if there is nothing that may be shown.
export function player(file, facts, { small = false, label = "Result" } = {}) {
  const sources = [facts.previews && file.stored?.address, file.remote].filter(Boolean);
  if (!sources.length) return undefined;
  if (small && file.kind === "audio") return el("div", { class: "media empty" }, el("p", {}, "♪ Sound"));
  const look = { class: "media", "aria-label": label };
  const element =
    file.kind === "image"
      ? el("img", { ...look, alt: label, loading: small ? "lazy" : "eager", referrerpolicy: "no-referrer" })
      : el(file.kind, { ...look, controls: !small, preload: "metadata", playsinline: true, muted: small, loop: small });
  if (small) element.muted = true;
  let next = 0;
  const tryNext = () => {
    if (next < sources.length) element.src = sources[next++];
    else element.replaceWith(nothing(file));
  };
  element.addEventListener("error", tryNext);
  tryNext();
  if (small && file.kind === "video") playWhileLookedAt(element);
  return element;
}

function playWhileLookedAt(video) {
  video.addEventListener("pointerenter", () => video.play().catch(() => {}));
  video.addEventListener("pointerleave", () => video.pause());
}

export const nothing = (file) =>
  el("div", { class: "media empty" }, el("p", {}, file.stored ? "This stored file cannot be shown here." : file.remote ? "Kling no longer gives this file." : "There is nothing that can be shown."));

// Where the file is, and for how long.
export function origin(file, facts) {
  const now = Date.now() / 1000;
  const about = [file.duration && `${Number(file.duration.toFixed(2))} s`, size(file.stored?.bytes)].filter(Boolean);
  const lines = [];
  if (file.stored) {
    lines.push(line("Stored copy", copyable(file.stored.uri, "the stored copy's address"), about.join(" · ")));
    if (!facts.previews && !file.remote) {
      lines.push(el("p", { class: "hint" }, "To watch stored files here, name their folder in [kling] preview_roots."));
    }
  }
  if (file.remote) {
    const over = file.expires !== undefined && file.expires < now;
    const until = file.expires === undefined ? "" : over ? `ended ${day(file.expires)}` : `until ${day(file.expires)}, ${duration(file.expires - now)} left`;
    lines.push(line("At Kling", copyable(file.remote, "Kling's address"), file.stored ? until : [until, ...about].filter(Boolean).join(" · ")));
  } else if (file.url) {
    lines.push(el("p", { class: "hint" }, "The result's address is not shown: only an https address of another host is."));
  }
  return el("div", { class: "origin" }, lines);
}

const line = (name, value, note) => el("div", { class: "where" }, el("span", { class: "name" }, name), value, el("span", { class: "note" }, note));
