// Pieces that both pages are built of.

import { chip, el } from "./dom.js";

const WORDS = {
  success: ["Done", "good"],
  failed: ["Failed", "bad"],
  upstream_failed: ["Upstream failed", "bad"],
  skipped: ["Skipped", ""],
  deferred: ["Waiting for Kling", "busy"],
  running: ["Running", "busy"],
  up_for_reschedule: ["Waiting for Kling", "busy"],
  up_for_retry: ["Up for retry", "warn"],
  queued: ["Queued", "busy"],
  scheduled: ["Scheduled", "busy"],
};

export function stateChip(state) {
  const [word, kind] = WORDS[state] ?? [state ?? "Not started", ""];
  return chip(word, `state ${kind}`);
}

export const money = (usd) => `$${usd < 0.1 ? Number(usd.toPrecision(2)) : usd.toFixed(2)}`;
export const units = (count) => `${Number(count.toFixed(2))} ${count === 1 ? "unit" : "units"}`;

export const card = (title, ...children) => el("section", { class: "card" }, el("h2", {}, title), ...children);

// Whether asking again may help.
export const mayPass = (error) => error.status === undefined || error.status >= 500;

// What a viewer reads where Airflow refuses.
export function refusal(error) {
  const said = {
    401: "You are not logged in. Reload the page to log in again.",
    403: "You may not see this task's data: Airflow has refused it.",
    404: "Airflow knows no such task instance (or it has not been created yet).",
  }[error.status];
  return el("p", { class: "neutral", role: "status" }, said ?? `Airflow's API could not be read. ${error.message}`);
}
