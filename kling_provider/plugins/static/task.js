// The tab of a task instance.

import { asked, askedAddress, followTheme, getFacts, getTaskInstance, pageAddress } from "./airflow.js";
import { chip, copyable, duration, el, later, mediaAddress, when, seconds } from "./dom.js";
import { nothing, origin, player } from "./media.js";
import { card, mayPass, money, refusal, stateChip, units } from "./parts.js";
import { concernsKling, failureOf, isFailed, isInTrouble, isOver, label, readDag, readWork } from "./reading.js";

const LOOK_AGAIN_MS = 4000;
const page = document.getElementById("page");
let shown = "";
let facts;

followTheme();
look();

async function look() {
  let again = true;
  try {
    facts ??= await getFacts();
    const ti = await getTaskInstance(asked.task, Number(asked.map ?? -1));
    await readDag();
    if (!(await concernsKling(ti))) {
      page.replaceChildren(el("p", { class: "neutral" }, "This task made nothing with Kling."));
      again = !isOver(ti);
    } else {
      const work = await readWork(ti, facts);
      const failure = await failureOf(ti, work);
      show(ti, work, failure);
      again = !isOver(ti) || !work.over;
    }
  } catch (error) {
    page.replaceChildren(refusal(error));
    again = mayPass(error) || error.status === 404;
    shown = "";
  }
  if (again) later(look, LOOK_AGAIN_MS);
}

// Anew only if something has changed: a video that plays goes on playing.
function show(ti, work, failure) {
  const { media, ...rest } = work;
  const news = JSON.stringify([ti, rest, media.map((file) => file.url ?? file.uri), failure]);
  if (news === shown) return;
  shown = news;
  page.replaceChildren(
    header(ti, work),
    el("div", { class: "columns" },
      el("div", { class: "main" }, stage(ti, work, failure), request(work)),
      el("div", { class: "side" }, walk(ti, work), cost(work), ids(work))),
  );
}

function header(ti, work) {
  const about = [work.model, work.mode, work.length && `${work.length} s`].filter(Boolean);
  const back = asked.from === "run" && el("a", { class: "back", href: pageAddress("run.html") }, "← All of this run");
  const name = ti.map_index >= 0 ? `${ti.task_id} [${ti.rendered_map_index ?? ti.map_index}]` : ti.task_id;
  return el("header", {},
    back,
    el("h1", {}, label(work.endpoint)),
    el("div", { class: "chips" }, stateChip(ti.state), about.map((word) => chip(word)), el("span", { class: "of" }, name)));
}

function stage(ti, work, failure) {
  if (work.media.length) return isInTrouble(ti) && failure ? [problem(ti, work, failure), gallery(work)] : gallery(work);
  if (work.failed || (ti.state === "up_for_retry" && failure)) return problem(ti, work, failure);
  if (isOver(ti) && work.over) return el("section", { class: "card stage" }, el("p", { class: "quiet" }, "There is no video, picture or sound here."));
  return progress(ti, work);
}

function gallery(work) {
  const screen = el("div", { class: "screen" });
  const where = el("div");
  const choose = (number) => {
    const file = work.media[number];
    screen.replaceChildren(player(file, facts, { label: `${label(work.endpoint)}, result ${number + 1}` }) ?? nothing(file));
    where.replaceChildren(origin(file, facts));
    for (const [each, button] of buttons.entries()) button.setAttribute("aria-pressed", String(each === number));
  };
  const buttons = work.media.length > 1
    ? work.media.map((file, number) => el("button", { type: "button", onclick: () => choose(number) }, `${file.kind} ${number + 1}`))
    : [];
  choose(0);
  return el("section", { class: "card stage" }, screen, buttons.length > 0 && el("div", { class: "choice" }, buttons), where);
}

function problem(ti, work, failure) {
  const kind = failure?.kind.split(".").at(-1) ?? (ti.state === "upstream_failed" ? "Upstream failed" : "The task failed");
  const message = failure?.message ?? work.statusMessage ?? (ti.state === "upstream_failed" ? "A task before this one failed, so nothing was asked of Kling." : "What went wrong stands in the tab Logs.");
  return el("section", { class: "card stage problem" }, el("h2", {}, kind), el("p", { class: "message" }, message),
    failure && el("p", { class: "hint" }, `The whole story stands in the tab Logs.${ti.state === "up_for_retry" ? " Airflow tries again." : ""}`));
}

function progress(ti, work) {
  const text = el("p", { class: "big" });
  const bar = el("progress", { max: 1, "aria-label": "Elapsed of the usual time" });
  const note = el("p", { class: "hint" });
  const tick = () => {
    if (!bar.isConnected && bar.dataset.shown) return;
    bar.dataset.shown = "yes";
    if (work.submittedAt === undefined) {
      text.textContent = ti.state === "queued" || ti.state === "scheduled" ? "Queued in Airflow" : "Nothing at Kling yet";
      note.textContent = "";
      bar.removeAttribute("value");
    } else {
      const elapsed = Date.now() / 1000 - work.submittedAt;
      const usual = work.usualSeconds;
      text.textContent = usual ? `${duration(elapsed)} of about ${duration(usual)}` : `${duration(elapsed)} so far`;
      note.textContent = usual && elapsed > usual ? "Longer than usual; Kling is still at work." : "Kling is at work. No worker is held while the task is deferred.";
      if (usual) bar.value = Math.min(0.97, elapsed / usual);
    }
    setTimeout(tick, 1000);
  };
  setTimeout(tick);
  return el("section", { class: "card stage waiting" }, text, bar, note);
}

function walk(ti, work) {
  const first = work.tis[0];
  const started = seconds(first.start_date);
  const queued = seconds(first.queued_when ?? first.scheduled_when);
  const ended = isOver(ti) && seconds(ti.end_date);
  const steps = [
    ["Queued in Airflow", queued > started ? undefined : queued], // it is queued once more when the wait is over
    ["Started", started],
    ["Submitted to Kling", work.submittedAt],
    [work.status === "failed" ? "Failed at Kling" : "Finished at Kling", work.endedAt, work.status === "failed" && "bad"],
    [ti.state === "failed" ? "Task failed" : ti.state === "upstream_failed" ? "Upstream failed" : "Task done", ended || undefined, isFailed(ti) ? "bad" : "good"],
  ];
  if (ended < work.endedAt) steps.push(steps.splice(3, 1)[0]); // a task that does not wait is done before Kling is
  const reached = steps.map(([, at]) => at !== undefined);
  const last = reached.lastIndexOf(true);
  const rows = steps.map(([name, at, kind], number) => {
    if (at === undefined && (isOver(ti) || number < last)) return undefined;
    const now = at === undefined && number === last + 1;
    const before = steps.slice(0, number).reverse().find(([, time]) => time !== undefined)?.[1];
    const took = at !== undefined && before !== undefined && at - before >= 1 && `+${duration(at - before)}`;
    return el("li", { class: at === undefined ? (now ? "now" : "later") : (kind || "done") },
      el("span", { class: "step" }, name), at === undefined ? el("span", { class: "note" }, now ? "next" : "") : el("span", { class: "note" }, took, when(at)));
  });
  const tries = ti.try_number > 1 && el("p", { class: "hint" }, `Try ${ti.try_number} of at most ${ti.max_tries + 1}.`);
  return card("Status", el("ol", { class: "walk" }, rows), tries);
}

function cost(work) {
  const isKnown = work.units !== undefined;
  const differs = isKnown && work.estimate !== undefined && work.estimate !== work.units;
  if (isKnown) return card("Cost", price(work.units, work.usd), el("p", { class: "hint" }, `Deducted by Kling.${differs ? ` The estimate was ${units(work.estimate)}.` : ""}`));
  const said = work.over ? (work.failed ? "Kling tells no cost." : "Not told by this gateway.") : "Told when it is done.";
  if (work.estimate === undefined || work.failed) return card("Cost", el("p", { class: "quiet" }, said));
  return card("Estimated cost", el("div", { class: "estimate" }, price(work.estimate, work.estimateUsd)), el("p", { class: "hint" }, work.over ? "This gateway does not tell what was deducted." : "What Kling deducts is told when it is done."));
}

const price = (count, usd) =>
  el("p", { class: "price" }, units(count), usd !== undefined && el("span", { class: "note" }, `≈ ${money(usd)} at list price`));

function ids(work) {
  const rows = [[work.isAnswer ? "Kling request" : "Kling task", work.id], ["External id", work.externalId]].filter(([, value]) => value);
  return rows.length > 0 && card("Ids", rows.map(([name, value]) => el("div", { class: "row" }, el("span", { class: "name" }, name), copyable(value, name))));
}

const PROMPTS = ["prompt", "text", "negative_prompt"];

function request(work) {
  if (!work.request.length) return undefined;
  const prompts = PROMPTS.map((name) => work.request.find((row) => row.name === name)).filter(Boolean);
  const isPicture = (row) => Number(IS_PICTURE.test(row.name));
  const others = work.request.filter((row) => !prompts.includes(row)).sort((one, other) => isPicture(other) - isPicture(one));
  return card("Request",
    prompts.map((row) => el("div", { class: "prompt" }, row.name === "negative_prompt" && el("span", { class: "name" }, "Not: "), String(row.value))),
    others.length > 0 && el("dl", {}, others.flatMap((row) => [el("dt", {}, row.name), el("dd", {}, value(work.asking, row.field, row.value))])));
}

const IS_PICTURE = /image|picture|photo|mask|frame|tail|cover|element|^\d+$/i;

function value(ti, field, given) {
  if (Array.isArray(given)) return el("ol", { class: "list" }, given.map((item, number) => el("li", {}, value(ti, `${field}.${number}`, item))));
  if (given !== null && typeof given === "object") {
    return el("dl", {}, Object.entries(given).flatMap(([name, item]) => [el("dt", {}, name), el("dd", {}, value(ti, `${field}.${name}`, item))]));
  }
  const text = String(given);
  if (text.startsWith("data:") || (text.length > 200 && !/\s/.test(text) && !text.includes("://"))) return el("span", { class: "quiet" }, `data, ${text.length} characters`);
  const isAddress = /^([a-z][a-z0-9+.-]*:\/\/|\/)/i.test(text);
  if (!isAddress) return text;
  const remote = mediaAddress(text);
  const source = /^https?:/i.test(text) ? remote : facts.previews && askedAddress(ti, field);
  const name = el("span", { class: "path" }, text.split(/[?#]/)[0]); // not the signature of a signed address
  if (!source || !IS_PICTURE.test(field.split(".").at(-1))) return name;
  const picture = el("img", { class: "thumb", src: source, alt: `${field}`, loading: "lazy", referrerpolicy: "no-referrer" });
  picture.addEventListener("error", () => picture.remove());
  return el("span", { class: "pictured" }, picture, name);
}
